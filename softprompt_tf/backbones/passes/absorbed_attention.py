"""A frozen T5's cross-attention without keys and values: few queries take in the projections that many positions would need.

With query q = x Wq, scores q (E Wk)^T are (q Wk^T) E^T, and what is attended to, A (E Wv), is (A E) Wv. The encoder output E
[B, S, H] is used as it is, so that S positions are not projected for a handful of target tokens, and no keys and values are
kept. It pays while the tokens are few: `is_cheaper` counts.
"""

from typing import Any, NamedTuple

import keras
from keras import ops

from softprompt_tf.backbones.passes.attention import attend
from softprompt_tf.backbones.passes.frozen_blocks import norm, norm_gradient
from softprompt_tf.backbones.passes.frozen_kernels import Kernel, Projection, frozen
from softprompt_tf.backbones.passes.heads import Shape, move_small
from softprompt_tf.backbones.passes.layer_changes import Changes, with_changed_cross
from softprompt_tf.typing import Tensor


class KeptCross(NamedTuple):
    """What the gradient of a block needs: states [B * U, H]; absorbed queries [B, N * U, H]; weights [B, N * U, S]."""

    states: Tensor
    inverse: Tensor
    absorbed: Tensor
    weights: Tensor


class AbsorbedAttention(NamedTuple):
    """A cross-attention block. Nothing can be injected, as it has no keys and values.

    Args:
      scale: [H], the norm's.
      query: [H] to [N * D], a kernel alone but for what changes it; so is output.
      key, value: [N, H, D], by head.
      output: [N * D] to [H].
      epsilon: the norm's.
    """

    scale: Tensor
    query: Projection
    key: Tensor
    value: Tensor
    output: Projection
    epsilon: float

    @classmethod
    def of(
        cls, norm: keras.layers.Layer, attention: keras.layers.Layer, dtype: str, *, is_plain: bool = True
    ) -> "AbsorbedAttention":
        """Read a layer's weights; it must be plain."""

        def by_head(kernel: Tensor) -> Tensor:
            split = ops.reshape(kernel, (kernel.shape[0], attention.num_heads, attention.key_value_dim))
            return move_small(split, (1, 0, 2))  # [N, H, D]; it never has a gradient

        return cls(
            scale=frozen(norm.weight, dtype),
            query=Kernel(frozen(attention.query_projector.kernel, dtype)),
            key=by_head(frozen(attention.key_projector.kernel, dtype)),
            value=by_head(frozen(attention.value_projector.kernel, dtype)),
            output=Kernel(frozen(attention.output_projector.kernel, dtype)),
            epsilon=float(norm.epsilon),
        )

    def changed(self, changes: Changes) -> "AbsorbedAttention":
        """Return the block with what changes its projections of tokens; deltas of keys and values take `ProjectedAttention`."""
        changed: AbsorbedAttention = with_changed_cross(self, changes)
        return changed

    @property
    def has_gradient(self) -> bool:
        """Whether `gradient` can run."""
        return isinstance(self.query, Kernel) and isinstance(self.output, Kernel)

    def see(self, encoder_output: Tensor, prefix: Tensor | None, shape: Shape) -> Tensor:
        """Return the encoder output [B, S, H] as it is."""
        return encoder_output

    def attend(self, states: Tensor, seen: Tensor, bias: Tensor, shape: Shape) -> Tensor:
        """Run the block; see `forward`."""
        return self.forward(states, seen, bias=bias, shape=shape)[0]

    def forward(
        self, states: Tensor, encoder_output: Tensor, *, bias: Tensor, shape: Shape
    ) -> tuple[Tensor, KeptCross]:
        """Run the block.

        Args:
          states: [B * U, H].
          encoder_output: [B, S, H].
          bias: [B, 1, 1, S], 0 where a position may be attended to and -1e9 where not.
          shape: of the states, U positions.

        Returns:
          States [B * U, H], and what the gradient needs.
        """
        normed, inverse = norm(states, self.scale, self.epsilon)
        query = _by_head(self.query(normed), shape)  # [N, B * U, D]
        absorbed = _by_row(ops.matmul(query, ops.transpose(self.key, (0, 2, 1))), shape)  # [B, N * U, H]
        context, weights = attend(absorbed, encoder_output, encoder_output, bias[:, 0])
        attended = _from_head(ops.matmul(_from_row(context, shape), self.value), shape)  # [B * U, N * D]
        return states + self.output(attended), KeptCross(states, inverse, absorbed, weights)

    def gradient(
        self, upstream: Tensor, kept: KeptCross, encoder_output: Tensor, *, shape: Shape, count: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the gradients of states [B * U, H] and of the first `count` positions of the encoder output (default: all)."""
        attended = _by_head(self.output.back(upstream), shape)  # [N, B * U, D]
        context = _by_row(ops.matmul(attended, ops.transpose(self.value, (0, 2, 1))), shape)  # [B, N * U, H]
        weights = ops.matmul(context, ops.transpose(encoder_output, (0, 2, 1)))  # [B, N * U, S]
        scores = kept.weights * (weights - ops.sum(weights * kept.weights, axis=-1, keepdims=True))
        absorbed = _from_row(ops.matmul(scores, encoder_output), shape)  # [N, B * U, H]
        query = self.query.back(_from_head(ops.matmul(absorbed, self.key), shape))
        states = upstream + norm_gradient(query, kept.states, self.scale, kept.inverse)
        left = ops.concatenate([kept.weights[..., :count], scores[..., :count]], axis=1)  # [B, 2 N * U, S]
        right = ops.concatenate([context, kept.absorbed], axis=1)  # [B, 2 N * U, H]
        return states, ops.matmul(ops.transpose(left, (0, 2, 1)), right)


def is_cheaper(num_queries: Any, source_length: Any, hidden_dim: int, head_dim: int) -> Any:
    """Say whether absorbed projections cost less than projected positions: of numbers a bool, of tensors a tensor.

    Both sides are multiplications per head. Absorbed ones are batches of small products, which run at about half the rate.

    Args:
      num_queries: U, the tokens that look at one encoder output.
      source_length: S, its positions.
    """
    absorbed = num_queries * (source_length * (hidden_dim - head_dim) + hidden_dim * head_dim)
    return 2 * absorbed <= source_length * hidden_dim * head_dim


def _by_head(rows: Tensor, shape: Shape) -> Tensor:
    """[B * U, N * D] to [N, B * U, D]."""
    return shape.moved(ops.reshape(rows, (-1, shape.heads, shape.width)), (1, 0, 2))


def _from_head(heads: Tensor, shape: Shape) -> Tensor:
    """[N, B * U, D] to [B * U, N * D]."""
    return ops.reshape(shape.moved(heads, (1, 0, 2)), (-1, shape.heads * shape.width))


def _by_row(heads: Tensor, shape: Shape) -> Tensor:
    """[N, B * U, H] to [B, N * U, H]."""
    hidden_dim = heads.shape[-1]
    split = ops.reshape(heads, (shape.heads, -1, shape.length, hidden_dim))
    return ops.reshape(shape.moved(split, (1, 0, 2, 3)), (-1, shape.heads * shape.length, hidden_dim))


def _from_row(rows: Tensor, shape: Shape) -> Tensor:
    """[B, N * U, H] to [N, B * U, H]."""
    hidden_dim = rows.shape[-1]
    split = ops.reshape(rows, (-1, shape.heads, shape.length, hidden_dim))
    return ops.reshape(shape.moved(split, (1, 0, 2, 3)), (shape.heads, -1, hidden_dim))
