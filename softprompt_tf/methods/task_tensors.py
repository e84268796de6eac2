"""The tensors that a task can bring to a frozen encoder-decoder, by name: the one place where they are declared.

Each has rows along its first axis, and tasks may differ in their number of rows. What one row holds depends on the backbone's
sizes. Task files, the tables that train and the tables that serve use these names and shapes.
"""

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from softprompt_tf.backbone_sizes import BackboneSizes

PROMPT = "prompt"
ENCODER_KEY_VALUES = "encoder_key_values"
DECODER_KEY_VALUES = "decoder_key_values"
DECODER_PAST_KEY_VALUES = "decoder_past_key_values"  # as the others, but at the positions in front of the target
CROSS_KEY_VALUES = "cross_key_values"
PROMPT_BEHIND_ENCODER = "prompt_behind_encoder"
PLACES = ("encoder", "decoder", "cross")  # the attentions: two stacks' own, and the one to the encoder output
PROJECTIONS = ("query", "key", "value", "output")
# Name of what is added to a projection -> the attention and the projection.
DELTAS: Mapping[str, tuple[str, str]] = {
    f"{place}_{projection}_delta": (place, projection) for place in PLACES for projection in PROJECTIONS
}
MOST_ENCODER_LAYERS = 64
ENCODER_DELTAS = tuple(name for name, (place, _) in DELTAS.items() if place == "encoder")
# Name of the rows that enter before an encoder layer -> the layer; those before layer 0 are `PROMPT`.
LATE_PROMPTS: Mapping[str, int] = {f"prompt_before_layer_{layer}": layer for layer in range(1, MOST_ENCODER_LAYERS)}


def _delta_row(place: str) -> Callable[[BackboneSizes], tuple[int, ...]]:
    """Return the shape of one row for each layer: the way down [H] or [N * D], and behind it the way up [N * D] or [H]."""

    def shape(sizes: BackboneSizes) -> tuple[int, ...]:
        layers = sizes.encoder_layers if place == "encoder" else sizes.decoder_layers
        return (layers, sizes.hidden_dim + sizes.num_heads * sizes.head_dim)

    return shape


# Name -> the shape of one row. Of key/values, axis 1 tells keys (0) from values (1).
TENSORS: Mapping[str, Callable[[BackboneSizes], tuple[int, ...]]] = {
    PROMPT: lambda sizes: (sizes.hidden_dim,),
    ENCODER_KEY_VALUES: lambda sizes: (sizes.encoder_layers, 2, sizes.num_heads, sizes.head_dim),
    DECODER_KEY_VALUES: lambda sizes: (sizes.decoder_layers, 2, sizes.num_heads, sizes.head_dim),
    DECODER_PAST_KEY_VALUES: lambda sizes: (sizes.decoder_layers, 2, sizes.num_heads, sizes.head_dim),
    CROSS_KEY_VALUES: lambda sizes: (sizes.decoder_layers, 2, sizes.num_heads, sizes.head_dim),
    PROMPT_BEHIND_ENCODER: lambda sizes: (sizes.hidden_dim,),
    **dict.fromkeys(LATE_PROMPTS, lambda sizes: (sizes.hidden_dim,)),
    **{name: _delta_row(place) for name, (place, _) in DELTAS.items()},
}
KEY_VALUES = (ENCODER_KEY_VALUES, DECODER_KEY_VALUES, DECODER_PAST_KEY_VALUES, CROSS_KEY_VALUES)


class MethodTensors(NamedTuple):
    """Names of the tensors that a method must have, and of those that it may have; at least one in all."""

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
)
# A method that has no row here may have any of `TENSORS`.
METHOD_TENSORS: Mapping[str, MethodTensors] = {
    **dict.fromkeys(_PROMPTS_ALONE, MethodTensors(required=(PROMPT,))),
    "lora": MethodTensors(required=(), optional=tuple(DELTAS)),
}


def entry_layer(names: Collection[str]) -> int | None:
    """Return the first encoder layer that sees anything of tensors of these names; None where the whole encoder does not."""
    if {PROMPT, ENCODER_KEY_VALUES, *ENCODER_DELTAS} & set(names):
        return 0
    return min((LATE_PROMPTS[name] for name in names if name in LATE_PROMPTS), default=None)


def row_shape(name: str, sizes: BackboneSizes) -> tuple[int, ...]:
    """Return the shape of one row of the tensor `name` on a backbone of these sizes."""
    return TENSORS[name](sizes)


def num_axes(name: str) -> int:
    """Return how many axes the tensor `name` has, that of its rows included."""
    return 1 + len(row_shape(name, BackboneSizes(1, 1, 1, 1, 1)))
