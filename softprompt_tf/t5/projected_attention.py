"""A frozen T5's cross-attention with keys and values: every position of the encoder output is projected, for many target tokens.

`absorbed_attention.py` is the way for few.
"""

from typing import NamedTuple

import keras
from keras import ops

from softprompt_tf.t5.frozen_blocks import (
    KeptAttention,
    SelfAttention,
    Shape,
    attended_gradient,
    back,
    join_heads,
    norm,
    norm_gradient,
    split_heads,
)
from softprompt_tf.typing import Tensor


class ProjectedAttention(NamedTuple):
    """A cross-attention block.

    Args:
      weights: as a self-attention block has them; key and value are for the encoder output.
    """

    weights: SelfAttention

    @classmethod
    def of(cls, norm: keras.layers.Layer, attention: keras.layers.Layer, dtype: str) -> "ProjectedAttention":
        """Read a layer's weights."""
        return cls(SelfAttention.of(norm, attention, dtype))

    def forward(
        self, states: Tensor, encoder_output: Tensor, bias: Tensor, shape: Shape, epsilon: float
    ) -> tuple[Tensor, KeptAttention]:
        """Run the block; see `AbsorbedAttention.forward`. Of what the gradient needs, keys and values are [B, N, S, D]."""
        normed, inverse = norm(states, self.weights.scale, epsilon)
        source, positions = _source(encoder_output, shape), _flat(encoder_output)
        query = split_heads(ops.matmul(normed, self.weights.query), shape)
        keys, values = (
            split_heads(ops.matmul(positions, kernel), source) for kernel in (self.weights.key, self.weights.value)
        )
        weights = ops.softmax(ops.matmul(query, ops.transpose(keys, (0, 1, 3, 2))) + bias[:, None], axis=-1)
        attended = join_heads(ops.matmul(weights, values), shape)
        output = states + ops.matmul(attended, self.weights.output)
        return output, KeptAttention(states, inverse, query, keys, values, weights, attended)

    def gradient(
        self, upstream: Tensor, kept: KeptAttention, encoder_output: Tensor, shape: Shape
    ) -> tuple[Tensor, Tensor]:
        """Return the gradient [B * U, H] of the block's input, and its part [B * S, H] in that of the encoder output."""
        source = _source(encoder_output, shape)
        upstream_heads, delta = attended_gradient(upstream, self.weights, kept, shape)
        weights_gradient = ops.matmul(upstream_heads, ops.transpose(kept.values, (0, 1, 3, 2)))
        scores = kept.weights * (weights_gradient - delta)  # [B, N, U, S]
        query = back(join_heads(ops.matmul(scores, kept.keys), shape), self.weights.query)
        keys = join_heads(ops.matmul(ops.transpose(scores, (0, 1, 3, 2)), kept.query), source)
        values = join_heads(ops.matmul(ops.transpose(kept.weights, (0, 1, 3, 2)), upstream_heads), source)
        part = back(keys, self.weights.key) + back(values, self.weights.value)
        return upstream + norm_gradient(query, kept.states, self.weights.scale, kept.inverse), part

    @staticmethod
    def encoder_gradient(parts: list[Tensor], encoder_output: Tensor) -> Tensor:
        """Return the gradient [B, S, H] of the encoder output from the parts of all blocks."""
        return ops.reshape(sum(parts), ops.shape(encoder_output))


def _source(encoder_output: Tensor, shape: Shape) -> Shape:
    return shape._replace(length=ops.shape(encoder_output)[1])


def _flat(encoder_output: Tensor) -> Tensor:
    return ops.reshape(encoder_output, (-1, encoder_output.shape[-1]))
