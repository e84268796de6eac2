"""The tensors that a task can bring to a frozen encoder-decoder, by name: the one place where they are declared.

Each has rows along its first axis, and tasks may differ in their number of rows. What one row holds depends on the backbone's
sizes. Task files, the tables that train and the tables that serve use these names and shapes.
"""

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.prompt_places import AT_END_ID, IN_TEXT_ID, TextPlaces

PROMPT = "prompt"
PROMPT_IN_TEXT = "prompt_in_text"
PROMPT_AT_END = "prompt_at_end"
# Name of rows that go elsewhere than in front of the text -> the placeholder that stands for them there.
PLACED_PROMPTS: Mapping[str, int] = {PROMPT_IN_TEXT: IN_TEXT_ID, PROMPT_AT_END: AT_END_ID}
# Where a method puts its prompt -> the name of the tensor that it becomes.
PROMPT_OF_POSITION: Mapping[str, str] = {"front": PROMPT, "marked": PROMPT_IN_TEXT, "end": PROMPT_AT_END}
ENCODER_KEY_VALUES = "encoder_key_values"
DECODER_KEY_VALUES = "decoder_key_values"
DECODER_PAST_KEY_VALUES = "decoder_past_key_values"  # as the others, but at the positions in front of the target
CROSS_KEY_VALUES = "cross_key_values"
PROMPT_BEHIND_ENCODER = "prompt_behind_encoder"
TEXT_OFFSETS = "text_offsets"  # row s is added to the embedding of the text's token s
PROMPT_SIGHT = "prompt_sight"  # [1, 3], what the rows of the prompt do not see: the text, other rows, later rows
INVERTIBLE_ADAPTER = "invertible_adapter"  # at the input embeddings, and its inverse before the output projection
LABEL_ROWS = "label_rows"  # one for each label, in the order of the labels
MIXTURE_WEIGHT = (
    "mixture_weight"  # [1, 1], how much a prompt counts among those that answer with it; nothing is injected
)
PLACES = ("encoder", "decoder", "cross")  # the attentions: two stacks' own, and the one to the encoder output
PROJECTIONS = ("query", "key", "value", "output")
# Name of what is added to a projection -> the attention and the projection.
DELTAS: Mapping[str, tuple[str, str]] = {
    f"{place}_{projection}_delta": (place, projection) for place in PLACES for projection in PROJECTIONS
}
STACKS = ("encoder", "decoder")
# Names of what multiplies the outputs of a projection, or the inner states of a feed-forward.
SCALES = (
    *(f"{place}_{projection}_scale" for place in PLACES for projection in PROJECTIONS),
    *(f"{stack}_feed_forward_scale" for stack in STACKS),
)
# Names of bottlenecks behind an attention, or behind a feed-forward; and of those between a feed-forward and its adapter.
FEED_FORWARD_ADAPTERS = tuple(f"{stack}_feed_forward_adapter" for stack in STACKS)
ADAPTERS = (*(f"{place}_attention_adapter" for place in PLACES), *FEED_FORWARD_ADAPTERS)
LANGUAGE_ADAPTERS = tuple(f"{stack}_language_adapter" for stack in STACKS)
# Added to what each layer of the encoder makes of the prompt's rows.
PROMPT_ADDITION = "encoder_prompt_addition"
# Name of what changes a part of every layer -> the place and the kind, as a `LayerChange` has them.
CHANGES: Mapping[str, tuple[str, str]] = {
    name: (name.partition("_")[0], name.partition("_")[2])
    for name in (*DELTAS, *SCALES, *ADAPTERS, *LANGUAGE_ADAPTERS, PROMPT_ADDITION)
}
# Tensors that all rows of a batch may have in common, as one row [1, ...] in the place of one for each, [B, ...].
IN_COMMON = (*(name for name in CHANGES if name != PROMPT_ADDITION), INVERTIBLE_ADAPTER)
ENCODER_CHANGES = tuple(name for name, (place, _) in CHANGES.items() if place == "encoder")
MOST_ENCODER_LAYERS = 64
# Names of what the first layer of the encoder sees; texts are encoded for each task that has some.
ENTERS_AT_ONCE = (
    PROMPT,
    *PLACED_PROMPTS,
    TEXT_OFFSETS,
    INVERTIBLE_ADAPTER,
    PROMPT_SIGHT,
    ENCODER_KEY_VALUES,
    *ENCODER_CHANGES,
)
# Name of the rows that enter before an encoder layer -> the layer; those before layer 0 are `PROMPT`.
LATE_PROMPTS: Mapping[str, int] = {f"prompt_before_layer_{layer}": layer for layer in range(1, MOST_ENCODER_LAYERS)}


def _change_row(name: str) -> Callable[[BackboneSizes], tuple[int, ...]]:
    """Return the shape of one row of a tensor of `CHANGES`, which has values for each layer.

    Of a delta: the way down [H] or [N * D], and behind it the way up [N * D] or [H]. Of an adapter: both ways [H], and two numbers.
    """
    place, kind = CHANGES[name]

    def shape(sizes: BackboneSizes) -> tuple[int, ...]:
        layers = sizes.encoder_layers if place == "encoder" else sizes.decoder_layers
        inner = sizes.num_heads * sizes.head_dim
        if name in DELTAS:
            return (layers, sizes.hidden_dim + inner)
        if name == PROMPT_ADDITION:
            return (layers, sizes.hidden_dim)
        if name in (*ADAPTERS, *LANGUAGE_ADAPTERS):
            return (layers, 2 * sizes.hidden_dim + 2)
        widths = {"feed_forward_scale": sizes.feed_forward_dim, "output_scale": sizes.hidden_dim}
        return (layers, widths.get(kind, inner))

    return shape


# Name -> the shape of one row. Of key/values, axis 1 tells keys (0) from values (1).
TENSORS: Mapping[str, Callable[[BackboneSizes], tuple[int, ...]]] = {
    PROMPT: lambda sizes: (sizes.hidden_dim,),
    **dict.fromkeys(PLACED_PROMPTS, lambda sizes: (sizes.hidden_dim,)),
    ENCODER_KEY_VALUES: lambda sizes: (sizes.encoder_layers, 2, sizes.num_heads, sizes.head_dim),
    DECODER_KEY_VALUES: lambda sizes: (sizes.decoder_layers, 2, sizes.num_heads, sizes.head_dim),
    DECODER_PAST_KEY_VALUES: lambda sizes: (sizes.decoder_layers, 2, sizes.num_heads, sizes.head_dim),
    CROSS_KEY_VALUES: lambda sizes: (sizes.decoder_layers, 2, sizes.num_heads, sizes.head_dim),
    PROMPT_BEHIND_ENCODER: lambda sizes: (sizes.hidden_dim,),
    TEXT_OFFSETS: lambda sizes: (sizes.hidden_dim,),
    INVERTIBLE_ADAPTER: lambda sizes: (2, sizes.hidden_dim + 2),
    PROMPT_SIGHT: lambda sizes: (3,),
    LABEL_ROWS: lambda sizes: (sizes.hidden_dim,),
    **dict.fromkeys(LATE_PROMPTS, lambda sizes: (sizes.hidden_dim,)),
    **{name: _change_row(name) for name in CHANGES},
    MIXTURE_WEIGHT: lambda sizes: (1,),
}
KEY_VALUES = (ENCODER_KEY_VALUES, DECODER_KEY_VALUES, DECODER_PAST_KEY_VALUES, CROSS_KEY_VALUES)


class MethodTensors(NamedTuple):
    """Names of the tensors that a method must have, and of those that it may have; at least one in all.

    In the place of a prompt there may be one in other places of the text, `PLACED_PROMPTS`.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()


_PROMPTS_ALONE = (
    "prompt_tuning",
    "residual",
    "superpos",
    "low_rank",
    "ulpt",
    "p_tuning",
    "multitask_prompts",
    "mpt",
    "attempt",
)
# What the rows of a prompt see -> the values of `PROMPT_SIGHT`.
SIGHTS: Mapping[str, tuple[int, int, int]] = {
    "all": (0, 0, 0),
    "earlier and text": (0, 0, 1),
    "itself and text": (0, 1, 0),
    "prompt": (1, 0, 0),
    "earlier": (1, 0, 1),
    "itself": (1, 1, 0),
}
# A method that has no row here may have any of `TENSORS`; a task of any method may have `MIXTURE_WEIGHT`.
METHOD_TENSORS: Mapping[str, MethodTensors] = {
    **dict.fromkeys(_PROMPTS_ALONE, MethodTensors(required=(PROMPT,), optional=(PROMPT_SIGHT,))),
    "warp": MethodTensors(required=(PROMPT, LABEL_ROWS)),
    "lora": MethodTensors(required=(), optional=tuple(DELTAS)),
    "ia3": MethodTensors(required=(), optional=SCALES),
    "adapters": MethodTensors(required=(), optional=(*ADAPTERS, INVERTIBLE_ADAPTER)),
    "mad_x": MethodTensors(required=(), optional=(*FEED_FORWARD_ADAPTERS, *LANGUAGE_ADAPTERS, INVERTIBLE_ADAPTER)),
    "dept": MethodTensors(required=(PROMPT, TEXT_OFFSETS)),
    "soft_words": MethodTensors(required=(PROMPT,), optional=(PROMPT_ADDITION,)),
}


def entry_layer(names: Collection[str]) -> int | None:
    """Return the first encoder layer that sees anything of tensors of these names; None where the whole encoder does not."""
    if set(ENTERS_AT_ONCE) & set(names):
        return 0
    return min((LATE_PROMPTS[name] for name in names if name in LATE_PROMPTS), default=None)


def prompt_name(names: Collection[str]) -> str | None:
    """Return which of these tensors is the prompt, wherever it goes; None where there is none."""
    return next((name for name in (PROMPT, *PLACED_PROMPTS) if name in names), None)


def text_places(lengths: Mapping[str, int]) -> TextPlaces:
    """Return how many rows of tensors, by name, do not go in front of the text."""
    return TextPlaces(lengths.get(PROMPT_IN_TEXT, 0), lengths.get(PROMPT_AT_END, 0))


def row_shape(name: str, sizes: BackboneSizes) -> tuple[int, ...]:
    """Return the shape of one row of the tensor `name` on a backbone of these sizes."""
    return TENSORS[name](sizes)


def num_axes(name: str) -> int:
    """Return how many axes the tensor `name` has, that of its rows included."""
    return 1 + len(row_shape(name, BackboneSizes(1, 1, 1, 1, 1)))
