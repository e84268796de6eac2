"""Training rows of a task from the old model's answers, each with a weight, and seeded batches of them.

A line of a task with labels becomes one row for each label that the old model finds likely, weighted by its probability: the
cross-entropy of these rows is that with the old model's distribution (Hinton et al. 2015, arXiv:1503.02531, at temperature 1).
A line of a generating task is one row, with the text that the old model wrote.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from softprompt_tf.migration.answers import Answers
from softprompt_tf.tasks import BatchStream, Example, Row, prefetched

if TYPE_CHECKING:
    import tensorflow as tf

LEAST_SHARE = 0.01  # a label that is less likely gets no row, unless none is likelier

WeightedBatch = tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]


def weighted_rows(inputs: Sequence[str], answers: Answers, labels: Sequence[str]) -> tuple[list[Example], np.ndarray]:
    """Return training rows and their weights float32.

    Args:
      inputs: N rendered lines.
      answers: of the old model.
      labels: C label words; none for a generating task.
    """
    if answers.probabilities is None:
        examples = [_row(*pair, place) for place, pair in enumerate(zip(inputs, answers.texts, strict=True))]
        return examples, np.ones(len(examples), np.float32)
    shares = answers.probabilities
    is_likely = (shares >= LEAST_SHARE) | (shares == shares.max(axis=1, keepdims=True))
    lines, words = np.nonzero(is_likely)
    places = zip(lines.tolist(), words.tolist(), strict=True)
    examples = [_row(inputs[line], labels[word], line) for line, word in places]
    return examples, shares[lines, words].astype(np.float32)


@dataclass(frozen=True)
class WeightedBatches:
    """Batches with a weight for each row; batch s depends on the stream's seed and on s alone.

    Args:
      stream: the batches without weights.
      weights: float32 [N], of the stream's rows.
    """

    stream: BatchStream
    weights: np.ndarray

    def batch(self, step: int) -> WeightedBatch:
        """Return batch number `step`: inputs, targets and weights [B]."""
        return (*self.stream.batch(step), self.weights[self.stream.rows(step)])

    def dataset(self, *, first_step: int) -> "tf.data.Dataset":
        """Return the endless batches from number `first_step` on."""
        import tensorflow as tf

        def batches() -> Iterator[WeightedBatch]:
            step = first_step
            while True:
                yield self.batch(step)
                step += 1

        x, y, _ = self.batch(first_step)
        signature = (
            {key: tf.TensorSpec((None,) * value.ndim, tf.int32) for key, value in x.items()},
            tf.TensorSpec((None,) * y.ndim, tf.int32),
            tf.TensorSpec((None,), tf.float32),
        )
        return prefetched(tf.data.Dataset.from_generator(batches, output_signature=signature))


def _row(inputs: str, target: str, place: int) -> Example:
    return Example(inputs, target, None, Row({}, f"line {place + 1}"))
