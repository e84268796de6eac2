"""Compute the states of texts before an encoder layer, or behind the encoder, in batches of rows of similar length."""

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.backbones.passes.cheaper_passes import states_before

DTYPES = ("float16", "bfloat16", "float32")
TOKENS_PER_BATCH = 4_096
_LARGEST_FLOAT16 = 65_504.0  # beyond it a value becomes infinite; bfloat16 and float32 reach equally far


class StatesOverflowError(Exception):
    """A state is larger than float16 can hold."""


class StateEncoder:
    """Computes states with one traced graph.

    Args:
      t5: the frozen T5.
      layer: the encoder layer before which the states are; None: behind the encoder.
      dtype: one of `DTYPES`.
    """

    def __init__(self, t5: FrozenT5, layer: int | None, dtype: str):
        def run(ids: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            states = tf.boolean_mask(states_before(t5, t5.embed(ids), mask, layer), mask > 0)  # [sum T, H]
            largest = tf.reduce_max(tf.abs(tf.cast(states, tf.float32)))
            states = tf.cast(states, dtype)
            return (tf.bitcast(states, tf.uint16) if dtype == "bfloat16" else states), largest

        specs = [tf.TensorSpec([None, None], tf.int32)] * 2
        self._dtype = dtype
        self._run = tf.function(run, input_signature=specs, autograph=False).get_concrete_function()

    def batches(self, token_ids: Sequence[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield, for a few rows at a time, how many they are and their states [sum of their lengths, H], in order.

        Args:
          token_ids: int32 arrays, the shortest first, so that little of a batch is padding.

        Raises:
          StatesOverflowError: at the first batch with a value that is too large for float16, where that is the dtype.
        """
        for rows in rows_of_batches(token_ids):
            yield rows.stop - rows.start, self.batch(token_ids[rows])

    def batch(self, token_ids: Sequence[np.ndarray]) -> np.ndarray:
        """Return the states of some rows, computed together, [sum of their lengths, H].

        Raises:
          StatesOverflowError: if a value is too large for float16, where that is the dtype.
        """
        ids, mask = _padded(token_ids)
        states, largest = self._run(tf.constant(ids), tf.constant(mask))
        if self._dtype == "float16" and float(largest) > _LARGEST_FLOAT16:
            raise StatesOverflowError(f"{float(largest):g}")
        return states.numpy()  # type: ignore[no-any-return]


def array_dtype(dtype: str) -> np.dtype:
    """Return the NumPy dtype that holds states: NumPy has no bfloat16, whose bits are kept as uint16."""
    return np.dtype(np.uint16 if dtype == "bfloat16" else dtype)


def rows_of_batches(token_ids: Sequence[np.ndarray]) -> Iterator[slice]:
    """Yield which rows are computed together: as many as fit `TOKENS_PER_BATCH` with their padding, at least one.

    Args:
      token_ids: the shortest first.
    """
    start = 0
    while start < len(token_ids):
        stop = start + 1
        while stop < len(token_ids) and (stop + 1 - start) * len(token_ids[stop]) <= TOKENS_PER_BATCH:
            stop += 1
        yield slice(start, stop)
        start = stop


def _padded(rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(lengths.max()) < lengths[:, None]  # [B, T]
    ids = np.zeros(mask.shape, np.int32)
    ids[mask] = np.concatenate(rows)
    return ids, mask.astype(np.int32)
