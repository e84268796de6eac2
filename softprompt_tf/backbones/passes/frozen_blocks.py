"""Norm and self-attention of a T5 whose weights never train: each forward pass with its gradient.

A block takes and gives states [M, H], M = rows * positions, the residual branch included. Forward it returns its output and
what its gradient needs; backward it takes the gradient of its output and that. As no weight has a gradient, little is kept
and nothing is computed that only weights would need. A block with a quantized or adapted projection has no gradient of its
own: there automatic differentiation runs through `forward`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import ops

from softprompt_tf.backbones.passes.attention import attend, in_front
from softprompt_tf.backbones.passes.frozen_kernels import Kernel, Projection, frozen, projection
from softprompt_tf.backbones.passes.heads import Shape, join_heads, split_heads
from softprompt_tf.typing import Tensor

# === Running a block ===


def run_block(
    forward: Callable[..., tuple[Tensor, Any]], gradient: Callable[[Tensor, Any], tuple[Tensor, ...]], *inputs: Tensor
) -> Tensor:
    """Run a block's forward pass with its own gradient in the place of the automatic one.

    Args:
      forward: inputs -> the output, and what the gradient needs. A tensor that it takes from elsewhere gets no gradient.
      gradient: the output's gradient and what was kept -> a gradient for every input.
      *inputs: tensors.
    """

    @ops.custom_gradient  # type: ignore[untyped-decorator]
    def run(*inputs: Tensor) -> tuple[Tensor, object]:
        output, kept = forward(*inputs)

        def grad(*upstream: Tensor) -> Any:
            gradients = gradient(upstream[0], kept)
            return gradients if len(inputs) > 1 else gradients[0]

        return output, grad

    return run(*inputs)


# === RMS norm ===


def norm(states: Tensor, scale: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Return states [M, H] over their root mean square times `scale`, and what was multiplied by, float32 [M, 1]."""
    mean_square = ops.mean(ops.square(ops.cast(states, "float32")), axis=-1, keepdims=True)
    inverse = ops.rsqrt(mean_square + epsilon)
    return states * ops.cast(inverse, states.dtype) * scale, inverse


def norm_gradient(upstream: Tensor, states: Tensor, scale: Tensor, inverse: Tensor) -> Tensor:
    """Return the gradient [M, H] of a norm's input, from that of its output."""
    upstream = upstream * scale
    slope = ops.cast(ops.mean(upstream * states, axis=-1, keepdims=True), "float32") * inverse**3
    return upstream * ops.cast(inverse, states.dtype) - states * ops.cast(slope, states.dtype)


class Norm(NamedTuple):
    """A norm: its scale [H], or the layer itself where it may be more than that."""

    scale: Tensor
    epsilon: float
    layer: Any = None

    @classmethod
    def of(cls, layer: keras.layers.Layer, dtype: str, *, is_plain: bool) -> "Norm":
        """Read a layer's weights."""
        return cls(frozen(layer.weight, dtype), float(layer.epsilon), None if is_plain else layer)

    @property
    def has_gradient(self) -> bool:
        """Whether `gradient` can run."""
        return self.layer is None

    def forward(self, states: Tensor) -> tuple[Tensor, Any]:
        """Norm states [M, H]."""
        if self.layer is not None:
            return self.layer(states), None
        output, inverse = norm(states, self.scale, self.epsilon)
        return output, (states, inverse)

    def gradient(self, upstream: Tensor, kept: tuple[Tensor, Tensor]) -> tuple[Tensor]:
        """Return the gradient [M, H] of the states."""
        states, inverse = kept
        return (norm_gradient(upstream, states, self.scale, inverse),)


# === Self-attention ===


class KeptAttention(NamedTuple):
    """What the gradient of an attention block needs: heads are [B, N, S, D], weights [B, N, Q, P + S].

    `normed` is what the norm's gradient needs, `injected` is P, None where nothing is injected.
    """

    normed: Any
    query: Tensor
    keys: Tensor
    values: Tensor
    weights: Tensor
    attended: Tensor
    injected: Any = None


class SelfAttention(NamedTuple):
    """A self-attention block: query, key and value project [H] to [N * D], output back, behind a norm."""

    query: Projection
    key: Projection
    value: Projection
    output: Projection
    norm: Norm

    @classmethod
    def of(
        cls, norm: keras.layers.Layer, attention: keras.layers.Layer, dtype: str, *, is_plain: bool
    ) -> "SelfAttention":
        """Read a layer's weights; where it is not plain, its norm and projections are called themselves."""
        names = ("query", "key", "value", "output")
        projectors = (getattr(attention, f"{name}_projector") for name in names)
        query, key, value, output = (projection(layer, dtype, is_plain=is_plain) for layer in projectors)
        return cls(query, key, value, output, Norm.of(norm, dtype, is_plain=is_plain))

    @property
    def has_gradient(self) -> bool:
        """Whether `gradient` can run: every projection is a kernel alone."""
        parts = (self.query, self.key, self.value, self.output)
        return self.norm.has_gradient and all(isinstance(part, Kernel) for part in parts)

    def heads(self, states: Tensor, shape: Shape) -> tuple[Tensor, Tensor, Tensor, Any]:
        """Return queries, keys and values [B, N, S, D] of states [B * S, H], and what the norm's gradient needs."""
        normed, kept = self.norm.forward(states)
        query, keys, values = (split_heads(part(normed), shape) for part in (self.query, self.key, self.value))
        return query, keys, values, kept

    def forward(
        self, states: Tensor, prefix: Tensor | None = None, *, bias: Tensor, shape: Shape
    ) -> tuple[Tensor, KeptAttention]:
        """Run the block.

        Args:
          states: [B * S, H].
          prefix: injected keys and values [2, B, N, P, D], or None.
          bias: broadcasts to [B, N, S, P + S].
          shape: of the states.

        Returns:
          States [B * S, H], and what the gradient needs.
        """
        query, keys, values, normed = self.heads(states, shape)
        keys, values = in_front(prefix, keys, values)
        attended, weights = attend(query, keys, values, bias)
        joined = join_heads(attended, shape)
        kept = KeptAttention(normed, query, keys, values, weights, joined, num_injected(prefix))
        return states + self.output(joined), kept

    def gradient(self, upstream: Tensor, kept: KeptAttention, *, shape: Shape) -> tuple[Tensor, ...]:
        """Return the gradient [B * S, H] of the states, and [2, B, N, P, D] of what was injected, if anything was."""
        heads, delta = attended_gradient(upstream, self.output, kept, shape)
        weights = ops.matmul(heads, ops.transpose(kept.values, (0, 1, 3, 2)))
        scores = kept.weights * (weights - delta)  # [B, N, S, P + S]
        keys = ops.matmul(ops.transpose(scores, (0, 1, 3, 2)), kept.query)
        values = ops.matmul(ops.transpose(kept.weights, (0, 1, 3, 2)), heads)
        injected, keys, values = split_injected(kept.injected, keys, values)
        parts = ((ops.matmul(scores, kept.keys), self.query), (keys, self.key), (values, self.value))
        normed = sum(kernel.back(join_heads(part, shape)) for part, kernel in parts)
        return upstream + self.norm.gradient(normed, kept.normed)[0], *injected

    def gradient_in_front(self, upstream: Tensor, kept: KeptAttention, *, shape: Shape, count: int) -> tuple[Tensor]:
        """Return the gradient of the states as `gradient` does, but 0 behind the first `count` positions."""
        front = shape._replace(length=count)
        heads, delta = attended_gradient(upstream, self.output, kept, shape)
        values, queries = ops.transpose(kept.values, (0, 1, 3, 2)), slice(None, count)
        rows = kept.weights[:, :, queries] * (ops.matmul(heads[:, :, queries], values) - delta[:, :, queries])
        columns = kept.weights[..., :count] * (ops.matmul(heads, values[..., :count]) - delta)  # [B, N, S, P]
        parts = (
            (ops.matmul(rows, kept.keys), self.query),
            (ops.matmul(ops.transpose(columns, (0, 1, 3, 2)), kept.query), self.key),
            (ops.matmul(ops.transpose(kept.weights[..., :count], (0, 1, 3, 2)), heads), self.value),
        )
        normed = sum(kernel.back(join_heads(part, front)) for part, kernel in parts)

        def in_front(rows: Tensor) -> Tensor:
            by_position = ops.reshape(rows, (shape.batch, shape.length, rows.shape[-1]))
            return ops.reshape(by_position[:, :count], (-1, rows.shape[-1]))

        states, inverse = (in_front(part) for part in kept.normed)
        gradient = in_front(upstream) + self.norm.gradient(normed, (states, inverse))[0]
        gradient = ops.reshape(gradient, (shape.batch, count, upstream.shape[-1]))
        gradient = ops.pad(gradient, ((0, 0), (0, shape.length - count), (0, 0)))
        return (ops.reshape(gradient, (-1, upstream.shape[-1])),)


def attended_gradient(upstream: Tensor, output: Projection, kept: KeptAttention, shape: Shape) -> tuple[Tensor, Tensor]:
    """Return the gradient of what was attended to [B, N, S, D], and its product with it [B, N, S, 1].

    That product is what the softmax's gradient subtracts; so summed it takes D numbers and not S.
    """
    gradient = output.back(upstream)  # [B * S, N * D]
    product = ops.reshape(gradient * kept.attended, (-1, shape.length, shape.heads, shape.width))
    delta = ops.transpose(ops.sum(product, axis=-1), (0, 2, 1))[..., None]
    return split_heads(gradient, shape), delta


def num_injected(prefix: Tensor | None) -> Any:
    """Return P of injected keys and values [2, B, N, P, D], None where there are none."""
    return None if prefix is None else ops.shape(prefix)[3]


def split_injected(count: Any, keys: Tensor, values: Tensor) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
    """Split gradients [B, N, P + S, D] of keys and values into that of P injected ones, [2, B, N, P, D], and the rest.

    Args:
      count: P, or None where nothing is injected: then the first tuple is empty.
    """
    if count is None:
        return (), keys, values
    injected = ops.stack([keys[:, :, :count], values[:, :, :count]])
    return (injected,), keys[:, :, count:], values[:, :, count:]
