"""A generator, a `PyDataset` or a data loader of texts as a `tf.data.Dataset` of columns."""

from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from softprompt_tf.texts.text_rows import TEXT_KEYS, WEIGHT, Columns
from softprompt_tf.texts.text_streams import Stream


def stream_dataset(
    stream: Stream, columns: Callable[[Any], Columns], *, has_task_id: bool, has_weight: bool
) -> tuple[tf.data.Dataset, list[Exception]]:
    """Return the dataset, and a list that gets what goes wrong while TensorFlow reads it, as it was.

    Args:
      stream: read anew in each epoch, where it can be.
      columns: turns one of its batches into columns; may raise.
      has_task_id: whether these have `task_id`, int32 [B].
      has_weight: whether these have weights, float32 [B].
    """
    failures: list[Exception] = []

    def read() -> Iterator[Columns]:
        try:
            yield from map(columns, stream.batches())
        except Exception as error:
            failures.append(error)
            raise

    spec = {name: tf.TensorSpec([None], tf.string) for name in TEXT_KEYS}
    if has_task_id:
        spec["task_id"] = tf.TensorSpec([None], tf.int32)
    if has_weight:
        spec[WEIGHT] = tf.TensorSpec([None], tf.float32)
    return tf.data.Dataset.from_generator(read, output_signature=spec), failures
