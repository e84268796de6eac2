"""Norm and self-attention of a T5 whose weights never train: each forward pass beside the gradient that runs back through it.

A block takes and gives states [M, H], M = rows * positions, the residual branch included. Forward it returns its output and
what its gradient needs; backward it takes that and the gradient of its output. As no weight has a gradient, little is kept
and nothing is computed that only weights would need.
"""

from typing import Any, NamedTuple

import keras
from keras import ops

from softprompt_tf.typing import Tensor


class Shape(NamedTuple):
    """How rows [M, N * D] fall into heads.

    Args:
      batch, length: B and S with M = B * S, numbers or scalars of a graph.
      heads, width: N and D.
    """

    batch: Any
    length: Any
    heads: int
    width: int


class SelfAttention(NamedTuple):
    """Weights of a self-attention block: the norm's scale [H], query, key and value [H, N * D], and output [N * D, H]."""

    scale: Tensor
    query: Tensor
    key: Tensor
    value: Tensor
    output: Tensor

    @classmethod
    def of(cls, norm: keras.layers.Layer, attention: keras.layers.Layer, dtype: str) -> "SelfAttention":
        projectors = ("query", "key", "value", "output")
        kernels = (getattr(attention, f"{name}_projector").kernel for name in projectors)
        return cls(*(frozen(weight, dtype) for weight in (norm.weight, *kernels)))


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


# === Self-attention ===


class KeptAttention(NamedTuple):
    """What the gradient of a self-attention block needs: heads are [B, N, S, D], weights [B, N, S, S]."""

    states: Tensor
    inverse: Tensor
    query: Tensor
    keys: Tensor
    values: Tensor
    weights: Tensor
    attended: Tensor


def attend(
    states: Tensor, block: SelfAttention, bias: Tensor, shape: Shape, epsilon: float
) -> tuple[Tensor, KeptAttention]:
    """Run a self-attention block on states [B * S, H] with a bias that broadcasts to [B, N, S, S]."""
    normed, inverse = norm(states, block.scale, epsilon)
    query, keys, values = (
        split_heads(ops.matmul(normed, kernel), shape) for kernel in (block.query, block.key, block.value)
    )
    weights = ops.softmax(ops.matmul(query, ops.transpose(keys, (0, 1, 3, 2))) + bias, axis=-1)
    attended = join_heads(ops.matmul(weights, values), shape)
    output = states + ops.matmul(attended, block.output)
    return output, KeptAttention(states, inverse, query, keys, values, weights, attended)


def attend_gradient(
    upstream: Tensor, block: SelfAttention, kept: KeptAttention, shape: Shape, count: int | None = None
) -> Tensor:
    """Return the gradient [B * S, H] of a self-attention block's input; with a count, 0 behind that many positions."""
    if count is not None:
        return _attend_gradient_in_front(upstream, block, kept, shape, count)
    upstream_heads, delta = attended_gradient(upstream, block, kept, shape)
    weights_gradient = ops.matmul(upstream_heads, ops.transpose(kept.values, (0, 1, 3, 2)))
    scores = kept.weights * (weights_gradient - delta)  # [B, N, S, S]
    parts = (
        (ops.matmul(scores, kept.keys), block.query),
        (ops.matmul(ops.transpose(scores, (0, 1, 3, 2)), kept.query), block.key),
        (ops.matmul(ops.transpose(kept.weights, (0, 1, 3, 2)), upstream_heads), block.value),
    )
    normed = sum(back(join_heads(part, shape), kernel) for part, kernel in parts)
    return upstream + norm_gradient(normed, kept.states, block.scale, kept.inverse)


def _attend_gradient_in_front(
    upstream: Tensor, block: SelfAttention, kept: KeptAttention, shape: Shape, count: int
) -> Tensor:
    """Return the gradient as `attend_gradient` does, but of the first `count` positions only."""
    front = shape._replace(length=count)
    upstream_heads, delta = attended_gradient(upstream, block, kept, shape)
    values, queries = ops.transpose(kept.values, (0, 1, 3, 2)), slice(None, count)
    rows = kept.weights[:, :, queries] * (ops.matmul(upstream_heads[:, :, queries], values) - delta[:, :, queries])
    columns = kept.weights[..., :count] * (ops.matmul(upstream_heads, values[..., :count]) - delta)  # [B, N, S, P]
    parts = (
        (ops.matmul(rows, kept.keys), block.query),
        (ops.matmul(ops.transpose(columns, (0, 1, 3, 2)), kept.query), block.key),
        (ops.matmul(ops.transpose(kept.weights[..., :count], (0, 1, 3, 2)), upstream_heads), block.value),
    )
    normed = sum(back(join_heads(part, front), kernel) for part, kernel in parts)

    def in_front(rows: Tensor) -> Tensor:
        by_position = ops.reshape(rows, (shape.batch, shape.length, rows.shape[-1]))
        return ops.reshape(by_position[:, :count], (-1, rows.shape[-1]))

    gradient = in_front(upstream) + norm_gradient(normed, in_front(kept.states), block.scale, in_front(kept.inverse))
    gradient = ops.reshape(gradient, (shape.batch, count, upstream.shape[-1]))
    gradient = ops.pad(gradient, ((0, 0), (0, shape.length - count), (0, 0)))
    return ops.reshape(gradient, (-1, upstream.shape[-1]))


def attended_gradient(
    upstream: Tensor, block: SelfAttention, kept: KeptAttention, shape: Shape
) -> tuple[Tensor, Tensor]:
    """Return the gradient of what was attended to [B, N, S, D], and its product with it [B, N, S, 1].

    That product is what the softmax's gradient subtracts; so summed it takes D numbers and not S.
    """
    gradient = back(upstream, block.output)  # [B * S, N * D]
    product = ops.reshape(gradient * kept.attended, (-1, shape.length, shape.heads, shape.width))
    delta = ops.transpose(ops.sum(product, axis=-1), (0, 2, 1))[..., None]
    return split_heads(gradient, shape), delta


# === Shapes ===


def back(upstream: Tensor, kernel: Tensor) -> Tensor:
    """Multiply [M, F] by the transpose of a kernel [H, F].

    A kernel with more columns than rows is transposed in memory first: oneDNN multiplies by it a third faster than it reads
    long columns. The third axis keeps TensorFlow from putting transposition and product together again.
    """
    num_rows, num_columns = kernel.shape
    if num_columns <= num_rows:
        return ops.matmul(upstream, ops.transpose(kernel))
    turned = ops.transpose(kernel[None], (0, 2, 1))
    return ops.matmul(upstream, ops.reshape(turned, (num_columns, num_rows)))


def split_heads(rows: Tensor, shape: Shape) -> Tensor:
    """Split [B * S, N * D] into heads [B, N, S, D]."""
    return ops.transpose(ops.reshape(rows, (-1, shape.length, shape.heads, shape.width)), (0, 2, 1, 3))


def join_heads(heads: Tensor, shape: Shape) -> Tensor:
    """Join heads [B, N, S, D] to [B * S, N * D]."""
    return ops.reshape(ops.transpose(heads, (0, 2, 1, 3)), (-1, shape.heads * shape.width))


# === Weights ===


def frozen(variable: keras.Variable, dtype: str) -> Tensor:
    """Read a variable as a tensor of a dtype that no gradient reaches."""
    return ops.cast(ops.stop_gradient(variable), dtype)
