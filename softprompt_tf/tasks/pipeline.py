"""Batches of tokenized examples: an endless stream for training, where batch s depends on the seed and on s alone, and
one pass for evaluation."""

from collections.abc import Iterator
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.tasks.length_windows import LENGTH_BUCKETS
from softprompt_tf.tasks.prefetched import prefetched
from softprompt_tf.tasks.tokenized import Batch, TokenizedExamples, tokenize_examples

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["BatchStream", "TokenizedExamples", "evaluation_batches", "tokenize_examples"]

SHORT_TARGETS = 8  # of so few tokens are padded to the same width in every batch, so that a graph knows it

_Rows = npt.NDArray[np.int64]


class BatchStream:
    """An endless stream of training batches, all of `batch_size` rows.

    An epoch is one permutation of the rows, filled up to whole batches with the first rows of the next epoch's. Within
    windows of `length_buckets` batches the rows are sorted by length, so that little of a batch is padding; then the
    order of the epoch's batches is drawn anew.

    Args:
      examples: at least one row.
      batch_size: rows per batch, B.
      seed: from 0 up.
      length_buckets: batches per window, from the shortest rows to the longest; 1 leaves the permutation as it is.
      pad_to_multiple_of: inputs are padded to such a width, and targets to that of the longest of all, so that compiled steps
        meet few widths; 1: inputs to the longest row's of a batch, and targets too, unless all are short (`SHORT_TARGETS`).
      with_task_id: whether the batches hold `task_id`.
      pad_id: fills token ids.
      start_id: the decoder's first token.
      part: this worker's number, from 0, and the number of workers that share each batch. Worker i of N has rows i, i + N, ...

    Attributes:
      examples: as given.
      target_width: what targets are padded to; 0: to the longest of a batch.

    Raises:
      ConfigError: if a number is out of range.
      DataError: if there are no rows.
    """

    def __init__(
        self,
        examples: TokenizedExamples,
        *,
        batch_size: int,
        seed: int,
        length_buckets: int = LENGTH_BUCKETS,
        pad_to_multiple_of: int = 1,
        with_task_id: bool = False,
        pad_id: int = 0,
        start_id: int = 0,
        part: tuple[int, int] = (0, 1),
    ):
        _check_rows(examples, batch_size)
        for name, value in (("length_buckets", length_buckets), ("pad_to_multiple_of", pad_to_multiple_of)):
            if value < 1:
                raise ConfigError(f"`{name}` must be a whole number above 0. Received: {value}.")
        if not 0 <= seed < 2**64:
            raise ConfigError(f"`seed` must be a whole number from 0 up to 2^64. Received: {seed}.")
        check_part(part, batch_size)
        self.examples = examples
        longest = max(map(len, examples.target_token_ids))
        self.target_width = longest if pad_to_multiple_of > 1 or is_short_target(longest) else 0
        self._part = slice(part[0], None, part[1])
        self._batch_size = batch_size
        self._seed = seed
        self._window = length_buckets * batch_size
        self._pad = partial(
            examples.batch,
            with_task_id=with_task_id,
            pad_id=pad_id,
            start_id=start_id,
            pad_to_multiple_of=pad_to_multiple_of,
            target_width=self.target_width,
        )
        self._epoch_rows = lru_cache(maxsize=2)(self._plan)

    @property
    def steps_per_epoch(self) -> int:
        """Batches until every row has been seen: rows / batch size, rounded up."""
        return -(-len(self.examples) // self._batch_size)

    def rows(self, step: int) -> _Rows:
        """Return the row numbers [B] of batch number `step`, which counts from 0."""
        if step < 0:
            raise ConfigError(f"`step` must be a whole number from 0 up. Received: {step}.")
        epoch, place = divmod(step, self.steps_per_epoch)
        rows: _Rows = self._epoch_rows(epoch)[place]
        return rows

    def batch(self, step: int) -> Batch:
        """Return batch number `step`, or this worker's part of it, as (x, y); see `TokenizedExamples.batch`."""
        return self._pad(self.rows(step)[self._part])

    def dataset(self, *, first_step: int = 0) -> "tf.data.Dataset":
        """Return the endless dataset of the batches from number `first_step` on; nothing before it is computed."""
        import tensorflow as tf

        def batches() -> Iterator[Batch]:
            step = first_step
            while True:
                yield self.batch(step)
                step += 1

        x, _ = self.batch(first_step)
        targets = tf.TensorSpec((None, self.target_width if is_short_target(self.target_width) else None), tf.int32)
        inputs = {key: tf.TensorSpec((None,) * value.ndim, tf.int32) for key, value in x.items()}
        signature = (inputs | dict.fromkeys(("decoder_token_ids", "decoder_padding_mask"), targets), targets)
        return prefetched(tf.data.Dataset.from_generator(batches, output_signature=signature))

    def _plan(self, epoch: int) -> _Rows:
        """Return the row numbers of one epoch, [steps_per_epoch, B]."""
        generator = self._generator(epoch)
        total = self.steps_per_epoch * self._batch_size
        rows = [generator.permutation(len(self.examples))]
        following = epoch
        while sum(map(len, rows)) < total:  # more than once only where a batch is larger than the data
            following += 1
            rows.append(self._generator(following).permutation(len(self.examples)))
        batches = self._sorted_in_windows(np.concatenate(rows)[:total]).reshape(-1, self._batch_size)
        return batches[generator.permutation(len(batches))]

    def _sorted_in_windows(self, rows: _Rows) -> _Rows:
        starts = range(0, len(rows), self._window)
        if self._window == self._batch_size:
            return rows
        return np.concatenate([_by_length(rows[start : start + self._window], self._lengths) for start in starts])

    def _generator(self, epoch: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=np.array([self._seed, epoch], np.uint64)))

    @cached_property
    def _lengths(self) -> npt.NDArray[np.int64]:
        return _row_lengths(self.examples)


def is_short_target(width: int) -> bool:
    """Say whether a graph shall know the width of targets; 1 it shall not, as Keras warns of a softmax over one score."""
    return 1 < width <= SHORT_TARGETS


def evaluation_batches(
    examples: TokenizedExamples, *, batch_size: int, with_task_id: bool = False, pad_id: int = 0, start_id: int = 0
) -> Iterator[tuple[dict[str, npt.NDArray[np.int32]], npt.NDArray[np.int32], _Rows]]:
    """Yield every row once, the shortest first, the last batch as small as it comes.

    Returns:
      (x, y, row numbers [B]) per batch; x and y as `TokenizedExamples.batch`. `answers[row_numbers] = ...` restores the
      order.

    Raises:
      ConfigError: if `batch_size` is below 1.
      DataError: if there are no rows.
    """
    _check_rows(examples, batch_size)
    order = _by_length(np.arange(len(examples)), _row_lengths(examples))
    return (
        (*examples.batch(rows, with_task_id=with_task_id, pad_id=pad_id, start_id=start_id), rows)
        for rows in (order[start : start + batch_size] for start in range(0, len(order), batch_size))
    )


def _check_rows(examples: TokenizedExamples, batch_size: int) -> None:
    if batch_size < 1:
        raise ConfigError(f"`batch_size` must be a whole number above 0. Received: {batch_size}.")
    if not len(examples):
        raise DataError("Batches need at least one row. Received: none.")


def check_part(part: tuple[int, int], batch_size: int) -> None:
    """Refuse a part of a batch that is none; a ConfigError.

    Args:
      part: number, from 0, and how many parts there are.
      batch_size: the rows that all parts share.
    """
    number, of = part
    if not 0 <= number < of:
        raise ConfigError(
            f"`part` must be a number from 0 up and the number of parts, which is larger. Received: {part}."
        )
    if batch_size % of:
        fitting = max(1, round(batch_size / of)) * of
        raise ConfigError(
            "The rows of a batch must be a multiple of the number of workers, which share them. "
            f"Received: batch_size={batch_size} and {of} workers. Use batch_size={fitting}, or other workers."
        )


def _row_lengths(examples: TokenizedExamples) -> npt.NDArray[np.int64]:
    """Return [N, 2]: input tokens, target tokens."""
    pairs = zip(examples.encoder_token_ids, examples.target_token_ids, strict=True)
    return np.array([(len(encoder), len(target)) for encoder, target in pairs], np.int64).reshape(-1, 2)


def _by_length(rows: _Rows, lengths: npt.NDArray[np.int64]) -> _Rows:
    """Sort row numbers by input length, then target length; equals keep their order."""
    return rows[np.lexsort((lengths[rows, 1], lengths[rows, 0]))]
