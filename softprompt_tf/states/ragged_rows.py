"""Rows of different lengths in one array, one behind the other, of which a graph takes batches without Python per row."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class RaggedRows:
    """N rows.

    Args:
      values: [sum of the lengths, ...], a tensor, or what is read at places when a batch is made: an array that is mapped from a
        file, or `HostRows`.
      starts: int64 [N], where each row begins in `values`.
      lengths: int64 [N], at least 1 each.
      dtype: of what is taken. An array of a dtype that NumPy lacks is given as uint16 of the same bits.
    """

    values: Any
    starts: tf.Tensor
    lengths: tf.Tensor
    dtype: tf.DType

    @classmethod
    def of(cls, values: Any, lengths: np.ndarray, dtype: str) -> "RaggedRows":
        """Return rows of these lengths; a plain array becomes a tensor in the host's memory."""
        with tf.device("CPU"):
            ends = np.cumsum(lengths, dtype=np.int64)
            if type(values) is np.ndarray:
                values = tf.constant(values)
                values = values if values.dtype == dtype else tf.bitcast(values, dtype)
            starts, sizes = tf.constant(ends - lengths), tf.constant(lengths.astype(np.int64))
        return cls(values, starts, sizes, tf.as_dtype(dtype))

    @classmethod
    def of_ids(cls, rows: Sequence[np.ndarray]) -> "RaggedRows":
        """Return rows of token ids, int32."""
        lengths = np.array([len(row) for row in rows], np.int64)
        return cls.of(np.concatenate(rows).astype(np.int32), lengths, "int32")

    def take(self, rows: tf.Tensor, *, width: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Return some rows [B, T, ...] and their mask int32 [B, T], 1 = a value of the row. Inside a graph.

        Args:
          rows: int [B].
          width: T. Default: the longest row's. Past its end a row repeats its last value.
        """
        lengths = tf.gather(self.lengths, rows)
        width = tf.reduce_max(lengths) if width is None else tf.cast(width, tf.int64)
        places = tf.range(width)[None]  # [1, T]
        index = tf.gather(self.starts, rows)[:, None] + tf.minimum(places, lengths[:, None] - 1)  # [B, T]
        return self._at(index), tf.cast(places < lengths[:, None], tf.int32)

    def _at(self, index: tf.Tensor) -> tf.Tensor:
        if tf.is_tensor(self.values):
            return tf.gather(self.values, index)
        read = tf.numpy_function(lambda places: np.asarray(self.values[places]), [index], self.values.dtype)
        read.set_shape([*index.shape, *self.values.shape[1:]])
        return read if read.dtype == self.dtype else tf.bitcast(read, self.dtype)
