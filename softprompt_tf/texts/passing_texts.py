"""Counts, while batches of texts pass, of what is cut and what the tokenizer does not know."""

import threading

import numpy as np
import tensorflow as tf

from softprompt_tf.tasks import UNKNOWN_ID, CutTexts, tell_counts


class PassingTexts:
    """What was seen so far of one data set whose rows come batch by batch.

    Args:
      max_input_tokens, max_target_tokens: where rows are cut, the end of sequence included.
    """

    def __init__(self, *, max_input_tokens: int, max_target_tokens: int):
        self._limits = (max_input_tokens, max_target_tokens)
        self._numbers = np.zeros(5, np.int64)
        self._lock = threading.Lock()
        self._is_told = False

    def note(self, inputs: tf.RaggedTensor, targets: tf.RaggedTensor) -> None:
        """Count a batch's pieces [B, None], not cut yet, inside a graph."""
        parts = [
            inputs.nrows(),
            *(_cut(pieces, limit) for pieces, limit in zip((inputs, targets), self._limits, strict=True)),
            tf.size(inputs.flat_values) + tf.size(targets.flat_values),
            _unknown(inputs) + _unknown(targets),
        ]
        tf.numpy_function(self._add, [tf.stack([tf.cast(part, tf.int64) for part in parts])], [])

    def tell(self, name: str = "Texts") -> bool:
        """Say once what was counted, as `tell_cut_texts` does, and return whether anything was; wait where no row has passed.

        Warns:
          UserWarning: for each share past its threshold.
        """
        with self._lock:
            rows, cut_inputs, cut_targets, pieces, unknown = self._numbers.tolist()
            is_due, self._is_told = rows > 0 and not self._is_told, self._is_told or rows > 0
        counts = CutTexts(rows, cut_inputs, cut_targets, pieces, unknown, *self._limits)
        return is_due and tell_counts(counts, name=name)

    @property
    def is_empty(self) -> bool:
        """Whether no row has passed yet."""
        return int(self._numbers[0]) == 0

    def _add(self, numbers: np.ndarray) -> None:
        with self._lock:  # batches are made in several threads
            if not self._is_told:
                self._numbers += numbers


def _cut(pieces: tf.RaggedTensor, limit: int) -> tf.Tensor:
    """Return how many rows are cut: the end of sequence takes one token."""
    return tf.math.count_nonzero(pieces.row_lengths() >= limit)


def _unknown(pieces: tf.RaggedTensor) -> tf.Tensor:
    return tf.math.count_nonzero(pieces.flat_values == UNKNOWN_ID, dtype=tf.int32)
