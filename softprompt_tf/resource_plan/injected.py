"""What a method's task brings to a batch, by the names and shapes of its tensors: where it enters, and how many rows."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.methods.family.method import PromptMethod
from softprompt_tf.methods.task_tensors import (
    CHANGES,
    CROSS_KEY_VALUES,
    DECODER_KEY_VALUES,
    DECODER_PAST_KEY_VALUES,
    ENCODER_KEY_VALUES,
    INVERTIBLE_ADAPTER,
    LABEL_ROWS,
    LATE_PROMPTS,
    PLACED_PROMPTS,
    PROMPT,
    PROMPT_BEHIND_ENCODER,
    TEXT_OFFSETS,
    entry_layer,
)

Shapes = Mapping[str, tuple[int, ...]]
_BY_LAYER = {*CHANGES, ENCODER_KEY_VALUES, DECODER_KEY_VALUES, DECODER_PAST_KEY_VALUES, CROSS_KEY_VALUES}


@dataclass(frozen=True, kw_only=True)
class Injected:
    """What one task injects, counted.

    Args:
      tensors: name of a task's tensor -> its shape, rows first.
      trained: name of a trained variable -> its shape, for one task.
      frozen: likewise of variables that keep their first values.
      shared: names of variables that several tasks have in common.
    """

    tensors: Shapes
    trained: Shapes
    frozen: Shapes = field(default_factory=dict)
    shared: tuple[str, ...] = ()

    def rows(self, *names: str) -> int:
        """Return the rows of the tensors of these names, together."""
        return sum(self.tensors[name][0] for name in names if name in self.tensors)

    @property
    def front(self) -> int:
        """Rows in front of the text or among it, before the first layer."""
        return self.rows(PROMPT, *PLACED_PROMPTS)

    @property
    def moves_all_embeddings(self) -> bool:
        """Whether every embedding may have a gradient, and not the rows in front alone."""
        return self.trains_invertible or TEXT_OFFSETS in self.tensors or self.rows(*PLACED_PROMPTS) > 0

    @property
    def trains_invertible(self) -> bool:
        """Whether an invertible adapter at the embeddings is trained; that of a language is frozen."""
        return INVERTIBLE_ADAPTER in self.tensors and INVERTIBLE_ADAPTER not in self.frozen

    @property
    def late(self) -> Mapping[int, int]:
        """Encoder layer -> rows that enter before it."""
        return {layer: self.rows(name) for name, layer in LATE_PROMPTS.items() if name in self.tensors}

    @property
    def behind(self) -> int:
        """Rows in front of the encoder output."""
        return self.rows(PROMPT_BEHIND_ENCODER)

    @property
    def key_values(self) -> Mapping[str, int]:
        """Attention -> injected keys and values in front of its own."""
        return {
            "encoder": self.rows(ENCODER_KEY_VALUES),
            "decoder": self.rows(DECODER_KEY_VALUES, DECODER_PAST_KEY_VALUES),
            "cross": self.rows(CROSS_KEY_VALUES),
        }

    @property
    def num_labels(self) -> int:
        """Labels with trained rows, which take the place of the vocabulary; 0 without."""
        return self.rows(LABEL_ROWS)

    def kinds(self, place: str) -> Mapping[str, int]:
        """Return kind of change -> its rows, of "encoder", "decoder" or "cross"."""
        at = {CHANGES[name]: shape[0] for name, shape in self.tensors.items() if name in CHANGES}
        return {kind: rows for (where, kind), rows in at.items() if where == place}

    @property
    def moves_encoder(self) -> bool:
        """Whether something goes into the encoder's layers."""
        return self.key_values["encoder"] > 0 or bool(self.kinds("encoder"))

    @property
    def moves_cross_keys(self) -> bool:
        """Whether something goes into keys or values of the attention to the encoder output, which cannot be absorbed then."""
        return self.key_values["cross"] > 0 or not self.kinds("cross").keys().isdisjoint(("key_delta", "value_delta"))

    @property
    def entry(self) -> int | None:
        """The first encoder layer that sees anything; None where none does."""
        return entry_layer(tuple(self.tensors))

    @property
    def tensor_values(self) -> int:
        """Values of one task's tensors."""
        return sum(map(math.prod, self.tensors.values()))

    @property
    def by_layer(self) -> Shapes:
        """The tensors that the layers share out among them."""
        return {name: shape for name, shape in self.tensors.items() if name in _BY_LAYER}


def injected_by(method: PromptMethod, sizes: BackboneSizes) -> Injected:
    """Ask a method for what its task brings to a backbone of these sizes."""
    shapes = method.shapes(sizes)
    zeros = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    frozen = {name: shape for name, shape in shapes.items() if name in method.frozen_variables}
    return Injected(
        tensors={name: tuple(value.shape) for name, value in method.task_tensors(zeros, sizes).items()},
        trained={name: shape for name, shape in shapes.items() if name not in frozen},
        frozen=frozen,
        shared=method.shared_variables,
    )


def changed_projections(kinds: Mapping[str, int]) -> set[str]:
    """Return the projections of an attention that changes of these kinds move."""
    moved = {kind.rpartition("_")[0] for kind in kinds if kind.endswith(("_delta", "_scale"))} - {"feed_forward"}
    return moved | ({"output"} if "attention_adapter" in kinds else set())


def changes_feed_forward(kinds: Mapping[str, int]) -> bool:
    """Say whether changes of these kinds move a feed-forward block."""
    return any(kind in ("feed_forward_scale", "feed_forward_adapter", "language_adapter") for kind in kinds)
