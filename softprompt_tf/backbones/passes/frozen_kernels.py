"""Projections whose kernels never train: a product with the kernel, and its way back with the kernel's transpose."""

from typing import Any, NamedTuple, Protocol

import keras
from keras import ops

from softprompt_tf.keras_backend import is_tensorflow
from softprompt_tf.typing import Tensor


class Kernel(NamedTuple):
    """A projection by a frozen kernel [H, F] and nothing else."""

    matrix: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        """Project [M, H] to [M, F]."""
        return ops.matmul(rows, self.matrix)

    def back(self, upstream: Tensor) -> Tensor:
        """Return the gradient [M, H] of the input from that of the output [M, F]."""
        return back(upstream, self.matrix)


def back(upstream: Tensor, kernel: Tensor) -> Tensor:
    """Multiply [M, F] by the transpose of a kernel [H, F].

    A kernel with more columns than rows is transposed in memory first: oneDNN multiplies by it a third faster than it reads
    long columns. The third axis keeps TensorFlow from putting transposition and product together again. It waits for what it is
    multiplied with, or the kernels of all layers would be there twice from the start of a step.
    """
    num_rows, num_columns = kernel.shape
    kernel = _after(upstream, kernel)
    if num_columns <= num_rows:
        return ops.matmul(upstream, ops.transpose(kernel))
    turned = ops.transpose(kernel[None], (0, 2, 1))
    return ops.matmul(upstream, ops.reshape(turned, (num_columns, num_rows)))


def _after(earlier: Tensor, value: Tensor) -> Tensor:
    """Return a tensor that a graph of TensorFlow has only when it has another one."""
    if not is_tensorflow():
        return value
    import tensorflow as tf

    with tf.control_dependencies([earlier]):
        return tf.identity(value)


class Projection(Protocol):
    """A kernel, or a layer that computes with more than its kernel and is called itself; only a kernel goes `back`."""

    def __call__(self, rows: Tensor) -> Tensor:
        """Project [M, H] to [M, F]."""

    def back(self, upstream: Tensor) -> Tensor:
        """Return the gradient [M, H] of the input from that of the output [M, F]."""


def projection(layer: keras.layers.Layer, dtype: str, *, is_plain: bool) -> Any:
    """Return a projection as its kernel alone, or as the layer itself where it may be more than that."""
    return Kernel(frozen(layer.kernel, dtype)) if is_plain else layer


def frozen(variable: keras.Variable, dtype: str) -> Tensor:
    """Read a variable as a tensor of a dtype that no gradient reaches."""
    return ops.cast(ops.stop_gradient(variable), dtype)
