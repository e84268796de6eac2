"""What the functions of a served graph take: tensors of tasks, and the types and shapes of all."""

from collections.abc import Collection, Mapping, Sequence

import tensorflow as tf

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.injection import Injection
from softprompt_tf.methods import injection_of
from softprompt_tf.methods.task_tensors import (
    CHANGES,
    CROSS_KEY_VALUES,
    DECODER_KEY_VALUES,
    DECODER_PAST_KEY_VALUES,
    ENCODER_CHANGES,
    ENCODER_KEY_VALUES,
    INVERTIBLE_ADAPTER,
    LATE_PROMPTS,
    PLACED_PROMPTS,
    PROMPT_BEHIND_ENCODER,
    PROMPT_SIGHT,
    TEXT_OFFSETS,
)

RowShapes = Mapping[str, tuple[int, ...]]
"""Name of a tensor that the graph has a table of -> the shape of its rows."""

INSIDE_ENCODER = (ENCODER_KEY_VALUES, *ENCODER_CHANGES, INVERTIBLE_ADAPTER, PROMPT_SIGHT)
# What the encoder takes beside prompts, of which every graph has a table, and what the decoder takes.
ENCODER_TENSORS = (
    TEXT_OFFSETS,
    *INSIDE_ENCODER,
    *LATE_PROMPTS,
    PROMPT_BEHIND_ENCODER,
    *PLACED_PROMPTS,
)
DECODER_TENSORS = (
    DECODER_KEY_VALUES,
    DECODER_PAST_KEY_VALUES,
    CROSS_KEY_VALUES,
    *(name for name in CHANGES if name not in ENCODER_CHANGES),
    INVERTIBLE_ADAPTER,
)

FLAT = tf.TensorSpec([None, None], tf.int32)
TEXTS, NUMBERS = tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.int32)
TARGETS = tf.TensorSpec([None, None, None], tf.int32)


def states_spec(t5: FrozenT5) -> tf.TensorSpec:
    """Return what states [B, S, H] are."""
    return tf.TensorSpec([None, None, t5.hidden_dim], t5.compute_dtype)


def part_specs(names: Collection[str], row_shapes: RowShapes) -> list[tf.TensorSpec]:
    """Return what rows and mask of each of some tensors are."""
    return [spec for name in names for spec in (tf.TensorSpec([None, None, *row_shapes[name]], tf.float32), FLAT)]


def injected(names: Collection[str], parts: Sequence[tf.Tensor]) -> Injection:
    """Return what rows of tables inject; `parts` are the values and the mask of each name, one behind the other."""
    return injection_of(dict(zip(names, parts[::2], strict=True)), dict(zip(names, parts[1::2], strict=True)))
