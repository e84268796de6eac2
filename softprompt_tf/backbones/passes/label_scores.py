"""Scores of labels that have rows of their own: the decoder's state at the first position times each label's row.

Source: Hambardzumyan et al. 2021, arXiv:2101.00121 (WARP).
"""

from keras import ops

from softprompt_tf.backbones.frozen_t5 import START_ID, FrozenT5
from softprompt_tf.backbones.passes.attention import causal_bias
from softprompt_tf.backbones.passes.cheaper_passes import Encoded, by_cost
from softprompt_tf.typing import Tensor

_IMPOSSIBLE = -1e9


def label_logits(t5: FrozenT5, states: Tensor, rows: Tensor) -> Tensor:
    """Return a logit for each label and, in front of them, one that is impossible, as id 0 stands for padding.

    Args:
      t5: the frozen T5.
      states: decoder states [B, U, H], of which the first position counts.
      rows: [B, C, H], on the scale of the output embeddings.

    Returns:
      float32 [B, 1, 1 + C]; label c has the id 1 + c.
    """
    first = t5.head_inputs(states[:, :1])
    scores = ops.matmul(ops.cast(first, "float32"), ops.transpose(ops.cast(rows, "float32"), (0, 2, 1)))  # [B, 1, C]
    return ops.concatenate([ops.full_like(scores[:, :, :1], _IMPOSSIBLE), scores], axis=2)


def first_states(t5: FrozenT5, encoded: Encoded) -> Tensor:
    """Return the decoder's states [B, 1, H] at the first position; what is injected into the decoder's layers is left out."""
    one = ops.minimum(
        ops.shape(encoded.padding_mask)[1], 1
    )  # unknown to a graph, as Keras warns of a softmax over one score
    start = ops.full_like(ops.cast(encoded.padding_mask[:, :one], "int32"), START_ID)
    bias = causal_bias(t5.backbone, 1)[None]

    def decode(is_short: bool) -> Tensor:
        return t5.forward.decode(t5.embed(start), bias, encoded.output, encoded.padding_mask, is_short=is_short)

    return by_cost(t5, 1, ops.shape(encoded.output)[1], few=lambda: decode(True), many=lambda: decode(False))
