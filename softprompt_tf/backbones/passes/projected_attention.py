"""A frozen T5's cross-attention with keys and values: every position of the encoder output is projected, for many target tokens.

`absorbed_attention.py` is the way for few.
"""

from typing import NamedTuple

import keras
from keras import ops

from softprompt_tf.backbones.passes.attention import attend, in_front
from softprompt_tf.backbones.passes.frozen_blocks import (
    KeptAttention,
    SelfAttention,
    attended_gradient,
    num_injected,
    split_injected,
)
from softprompt_tf.backbones.passes.heads import Shape, join_heads, split_heads
from softprompt_tf.backbones.passes.layer_changes import Changes, with_changed_cross
from softprompt_tf.typing import Tensor


class ProjectedAttention(NamedTuple):
    """A cross-attention block.

    Args:
      weights: as a self-attention block has them; key and value are for the encoder output.
    """

    weights: SelfAttention

    @classmethod
    def of(
        cls, norm: keras.layers.Layer, attention: keras.layers.Layer, dtype: str, *, is_plain: bool
    ) -> "ProjectedAttention":
        """Read a layer's weights."""
        return cls(SelfAttention.of(norm, attention, dtype, is_plain=is_plain))

    def changed(self, changes: Changes) -> "ProjectedAttention":
        """Return the block with what changes its projections."""
        return self._replace(weights=with_changed_cross(self.weights, changes))

    @property
    def has_gradient(self) -> bool:
        """Whether `gradient` can run."""
        return self.weights.has_gradient

    def see(self, encoder_output: Tensor, prefix: Tensor | None, shape: Shape) -> tuple[Tensor, Tensor]:
        """Project an encoder output [B, S, H] to keys and values [B, N, P + S, D], those of a prefix [2, B, N, P, D] in front."""
        source, positions = _source(encoder_output, shape), _flat(encoder_output)
        keys, values = (split_heads(part(positions), source) for part in (self.weights.key, self.weights.value))
        return in_front(prefix, keys, values)

    def attend(self, states: Tensor, seen: tuple[Tensor, Tensor], bias: Tensor, shape: Shape) -> Tensor:
        """Run the block on what `see` gave; see `forward`."""
        return self._attend(states, seen, bias, shape)[0]

    def forward(
        self, states: Tensor, encoder_output: Tensor, prefix: Tensor | None = None, *, bias: Tensor, shape: Shape
    ) -> tuple[Tensor, KeptAttention]:
        """Run the block.

        Args:
          states: [B * U, H].
          encoder_output: [B, S, H].
          prefix: injected keys and values [2, B, N, P, D], or None.
          bias: [B, 1, 1 or U, P + S], 0 where a position may be attended to and -1e9 where not.
          shape: of the states, U positions.

        Returns:
          States [B * U, H], and what the gradient needs: keys and values are [B, N, P + S, D].
        """
        output, kept = self._attend(states, self.see(encoder_output, prefix, shape), bias, shape)
        return output, kept._replace(injected=num_injected(prefix))

    def _attend(
        self, states: Tensor, seen: tuple[Tensor, Tensor], bias: Tensor, shape: Shape
    ) -> tuple[Tensor, KeptAttention]:
        normed, kept = self.weights.norm.forward(states)
        query = split_heads(self.weights.query(normed), shape)
        attended, weights = attend(query, *seen, bias)
        joined = join_heads(attended, shape)
        output = states + self.weights.output(joined)
        return output, KeptAttention(kept, query, *seen, weights, joined)

    def gradient(
        self, upstream: Tensor, kept: KeptAttention, encoder_output: Tensor, *, shape: Shape, count: int | None = None
    ) -> tuple[Tensor, ...]:
        """Return the gradients of states [B * U, H], of the first `count` positions of the encoder output (default: all) and, if
        there is one, of prefix [2, B, N, P, D]."""
        moving = encoder_output[:, :count]
        source = _source(moving, shape)
        heads, delta = attended_gradient(upstream, self.weights.output, kept, shape)
        weights_gradient = ops.matmul(heads, ops.transpose(kept.values, (0, 1, 3, 2)))
        scores = kept.weights * (weights_gradient - delta)  # [B, N, U, P + S]
        query = self.weights.query.back(join_heads(ops.matmul(scores, kept.keys), shape))
        keys = ops.matmul(ops.transpose(scores, (0, 1, 3, 2)), kept.query)
        values = ops.matmul(ops.transpose(kept.weights, (0, 1, 3, 2)), heads)
        injected, keys, values = split_injected(kept.injected, keys, values)
        keys, values = keys[:, :, :count], values[:, :, :count]
        positions = self.weights.key.back(join_heads(keys, source)) + self.weights.value.back(
            join_heads(values, source)
        )
        states = upstream + self.weights.norm.gradient(query, kept.normed)[0]
        return states, ops.reshape(positions, ops.shape(moving)), *injected


def _source(encoder_output: Tensor, shape: Shape) -> Shape:
    return shape._replace(length=ops.shape(encoder_output)[1], is_small=False)


def _flat(encoder_output: Tensor) -> Tensor:
    return ops.reshape(encoder_output, (-1, encoder_output.shape[-1]))
