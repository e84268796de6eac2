"""Read batches of texts from a generator, a `PyDataset` or a data loader as columns.

What goes wrong while TensorFlow asks for the next batch is kept, so that it can be raised as it was.
"""

import random
import types
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import keras

from softprompt_tf.errors import DataError
from softprompt_tf.texts.text_rows import Columns, columns_of, holds_texts

Batches = Callable[[], Iterator[Any]]


def is_stream(x: Any) -> bool:
    """Say whether `x` gives batches one by one: a `PyDataset`, a generator, or a torch or Grain `DataLoader`."""
    return isinstance(x, (keras.utils.PyDataset, types.GeneratorType)) or type(x).__name__ == "DataLoader"


def unpacked(batch: Any) -> tuple[Any, Any, Any]:
    """Take a batch apart as Keras does: into inputs, targets and weights."""
    if not isinstance(batch, (list, tuple)) or not 1 <= len(batch) <= 3 or isinstance(batch[0], (str, bytes)):
        return batch, None, None
    x, y, weight = (*batch, None, None, None)[:3]
    return x, y, weight


def is_text_batch(batch: Any) -> bool:
    """Say whether a batch has texts for inputs."""
    return holds_texts(unpacked(batch)[0])


def batch_columns(batch: Any) -> Columns:
    """Return the columns of one batch of texts.

    Raises:
      DataError: where it is one row, or does not fit.
    """
    if isinstance(batch, tuple) and batch and isinstance(batch[0], (str, bytes)):
        raise DataError(
            f"A generator, PyDataset or loader must give batches: ([inputs], [targets]). Received: one row, {batch!s:.80}. "
            "Put rows together first, or pass lists."
        )
    return columns_of(*unpacked(batch))


class Stream:
    """Batches of texts, read once or, where the source can, once per epoch.

    Args:
      source: a `PyDataset`, a generator, or a data loader.
      shuffle: whether the batches of a `PyDataset` come in a new order every epoch.

    Attributes:
      first: the first batch as it came; it is not lost.
      num_batches: of an epoch, None where it is unknown.
    """

    def __init__(self, source: Any, *, shuffle: bool):
        self._source = source
        self._shuffle = shuffle
        self._is_begun = False
        self.num_batches = _num_batches(source)
        if self.num_batches == 0:
            raise DataError(f"The {type(source).__name__} must have at least one batch. Received: none.")
        if isinstance(source, types.GeneratorType):
            self.first = next(source, None)
            if self.first is None:
                raise DataError("The generator must give at least one batch. Received: none.")
        else:
            self.first = source[0] if isinstance(source, keras.utils.PyDataset) else next(iter(source))

    def as_it_came(self) -> Any:
        """Return the source, with the batch that was looked at."""
        if not isinstance(self._source, types.GeneratorType):
            return self._source
        return _chained(self.first, self._source)

    def batches(self) -> Iterator[Any]:
        """Return the batches of the next epoch."""
        if isinstance(self._source, keras.utils.PyDataset):
            return self._of_dataset(self._source)
        if isinstance(self._source, types.GeneratorType):
            return self._of_generator(self._source)
        return iter(self._source)

    def _of_generator(self, generator: Iterator[Any]) -> Iterator[Any]:
        has_batch = not self._is_begun
        if not self._is_begun:
            self._is_begun = True
            yield self.first
        for batch in generator:
            has_batch = True
            yield batch
        if not has_batch:
            raise DataError(
                "A generator can be read once. Received: one that has ended, and another epoch to read. Pass a list, a dataset or "
                "a PyDataset; or let it go on for ever and set steps_per_epoch or validation_steps."
            )

    def _of_dataset(self, dataset: keras.utils.PyDataset) -> Iterator[Any]:
        dataset.on_epoch_begin()
        if self.num_batches is None:
            index = 0
            while True:
                yield dataset[index]
                index += 1
        order = list(range(self.num_batches))
        if self._shuffle:
            random.shuffle(order)  # follows `keras.utils.set_random_seed`, as Keras's own order does
        yield from _loaded(dataset, order)
        dataset.on_epoch_end()


def _loaded(dataset: keras.utils.PyDataset, order: list[int]) -> Iterator[Any]:
    """Yield batches in an order, made by as many threads as the dataset asks for."""
    if dataset.use_multiprocessing:
        raise DataError(
            "A PyDataset of texts loads in threads. Received: use_multiprocessing=True. Set it to False and `workers` above 1."
        )
    if dataset.workers <= 1:
        yield from (dataset[index] for index in order)
        return
    with ThreadPoolExecutor(dataset.workers) as pool:
        waiting: list[Future[Any]] = []
        for index in order:
            waiting.append(pool.submit(dataset.__getitem__, index))
            if len(waiting) >= max(dataset.workers, dataset.max_queue_size):
                yield waiting.pop(0).result()
        yield from (future.result() for future in waiting)


def _num_batches(source: Any) -> int | None:
    if isinstance(source, keras.utils.PyDataset):
        try:
            return source.num_batches
        except NotImplementedError:
            return None
    try:
        return len(source)
    except TypeError:
        return None


def _chained(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest
