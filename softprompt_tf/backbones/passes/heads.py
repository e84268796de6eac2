"""How rows of states fall into heads, and how heads move."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from keras import ops

from softprompt_tf.keras_backend import is_tensorflow
from softprompt_tf.typing import Tensor


class Shape(NamedTuple):
    """How rows [M, N * D] fall into heads.

    Args:
      batch, length: B and S with M = B * S, numbers or scalars of a graph.
      heads, width: N and D.
      is_small: whether heads move as `move_small` moves them, which has no automatic gradient.
    """

    batch: Any
    length: Any
    heads: int
    width: int
    is_small: bool = False

    def moved(self, heads: Tensor, axes: Sequence[int]) -> Tensor:
        """Transpose heads; the last axis stays the last."""
        return move_small(heads, axes) if self.is_small else ops.transpose(heads, axes)


def split_heads(rows: Tensor, shape: Shape) -> Tensor:
    """Split [B * S, N * D] into heads [B, N, S, D]."""
    return shape.moved(ops.reshape(rows, (-1, shape.length, shape.heads, shape.width)), (0, 2, 1, 3))


def join_heads(heads: Tensor, shape: Shape) -> Tensor:
    """Join heads [B, N, S, D] to [B * S, N * D]."""
    return ops.reshape(shape.moved(heads, (0, 2, 1, 3)), (-1, shape.heads * shape.width))


def move_small(values: Tensor, axes: Sequence[int]) -> Tensor:
    """Transpose a small tensor, where the last axis stays the last. There is no automatic gradient.

    On a CPU, TensorFlow has oneDNN transpose floats. Its preparations take longer than to move a small tensor: 15 to 40
    microseconds for the heads of a decoder's few tokens, dozens of times in a step. Integers are left to TensorFlow's own code,
    which moves the same bytes in 3 to 10.

    Args:
      values: float32, or a float of 16 bits.
      axes: as in `ops.transpose`.
    """
    if not is_tensorflow():
        return ops.transpose(values, axes)
    import tensorflow as tf

    bits = tf.int32 if values.dtype.size == 4 else tf.int16
    return tf.bitcast(tf.transpose(tf.bitcast(values, bits), axes), values.dtype)
