"""Texts given to `fit`, `evaluate` and `train_on_batch` become what Keras takes: datasets of token dictionaries."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from softprompt_tf.errors import DataError
from softprompt_tf.tasks import mapped, prefetched, shuffled_by_length, tell_cut_texts
from softprompt_tf.texts import text_rows
from softprompt_tf.texts.feed import Feed
from softprompt_tf.texts.passing_texts import PassingTexts
from softprompt_tf.texts.plain_failures import told_plainly
from softprompt_tf.texts.refused_texts import without_texts
from softprompt_tf.texts.stream_dataset import stream_dataset
from softprompt_tf.texts.text_arguments import (
    check_alone,
    check_has_rows,
    check_no_class_weight,
    checked_size,
    split_at,
)
from softprompt_tf.texts.text_batches import TextBatches
from softprompt_tf.texts.text_datasets import check_text_dataset, has_texts, own_columns
from softprompt_tf.texts.text_rows import WEIGHT, Columns, columns_of, holds_texts
from softprompt_tf.texts.text_streams import Stream, batch_columns, is_stream, is_text_batch, unpacked

BATCH_SIZE = 32


TakeStates = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""Rows of a data set [B] and a width T -> their cached states [B, T, H], inside a graph."""

_ROW = "row_of_states"


@dataclass(frozen=True)
class TextFeed:
    """Makes feeds for one model, whose `labels` are what `class_weight` names.

    Args:
      batches: turns texts into tokens.
      labels: label words.
      states_of: for texts that stay in memory: the name of the tokens' part for their cached states, and how to take those.
    """

    batches: TextBatches
    labels: tuple[str, ...] = ()
    states_of: Callable[[Sequence[str]], Mapping[str, TakeStates]] | None = None

    def training(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        batch_size: int | None = None,
        shuffle: bool = True,
        class_weight: Any = None,
        steps: int | None = None,
        validation_split: float = 0.0,
        validation_batch_size: int | None = None,
        validation_steps: int | None = None,
    ) -> tuple[Feed, Feed | None]:
        """Return the feed of `fit`, and that of its validation where `validation_split` asks for one."""
        weights = self._class_weights(class_weight, sample_weight)
        if self.states_of is not None and not holds_texts(x):
            kind = type(x).__name__.lstrip("_")
            raise DataError(
                f"`cached_states` needs texts in memory, such as lists or columns. Received: a {kind} without."
            )
        if isinstance(x, tf.data.Dataset) or is_stream(x):
            check_alone(x, y, sample_weight, batch_size, validation_split)
            return self._of_batches(x, weights, shuffle), None
        if not holds_texts(x):
            return _of_tokens(x, y, sample_weight, class_weight), None
        rows = self._rows(x, y, sample_weight, weights)
        if not validation_split:
            return self._of_rows(rows, batch_size, shuffle, steps, repeat=bool(steps)), None
        split = split_at(len(rows["encoder_text"]), validation_split)
        first, last = (text_rows.sliced(rows, part) for part in (slice(split), slice(split, None)))
        if weights:
            last.pop(WEIGHT)  # Keras weighs classes in training alone
        held_out = self._of_rows(last, validation_batch_size or batch_size, steps=validation_steps)
        return self._of_rows(first, batch_size, shuffle, steps, repeat=bool(steps)), held_out

    def evaluation(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        batch_size: int | None = None,
        steps: int | None = None,
    ) -> Feed:
        """Return the feed of `evaluate`."""
        if isinstance(x, tf.data.Dataset) or is_stream(x):
            check_alone(x, y, sample_weight, batch_size)
            return self._of_batches(x, None, shuffle=False)
        if not holds_texts(x):
            return _of_tokens(x, y, sample_weight)
        return self._of_rows(self._rows(x, y, sample_weight, None), batch_size, steps=steps)

    def validation(
        self, data: Any, *, batch_size: int | None = None, else_size: int | None = None, steps: int | None = None
    ) -> Feed:
        """Return the feed of `validation_data`: an `(x, y)` or `(x, y, weights)` pair or list, or inputs and targets in one.

        `else_size` is the batch size of training, which counts for data in memory where there is no `batch_size`.
        """
        x, y, weight = unpacked(data)
        own = isinstance(x, tf.data.Dataset) or is_stream(x)
        return self.evaluation(x, y, weight, batch_size=batch_size or (None if own else else_size), steps=steps)

    def one_batch(self, x: Any, y: Any = None, sample_weight: Any = None, *, class_weight: Any = None) -> Feed:
        """Return the feed of `train_on_batch` and `test_on_batch`: tokens, targets and weights."""
        if not holds_texts(x):
            return _of_tokens(x, y, sample_weight, class_weight)
        weights = self._class_weights(class_weight, sample_weight)
        columns = self._with_tasks(columns_of(x, y, sample_weight))
        if weights is not None:
            columns = text_rows.weighted_by_class(columns, weights)
        passing = self._passing()
        made = self._tokenized({name: tf.constant(value) for name, value in columns.items()}, passing)
        x, y, weight = (*tf.nest.map_structure(np.asarray, made), None)[:3]
        return Feed(
            x,
            y,
            weight,
            is_batched=False,
            tell=lambda: passing.tell("Texts of a batch (later batches are not reported)"),
        )

    def plainly(self, *feeds: Feed | None) -> AbstractContextManager[None]:
        """Raise what went wrong in the user's data, and no trace of the graph that read it, from what is done within it."""
        return told_plainly(*feeds)

    def without_texts(self, x: Any, name: str) -> Any:
        """Return the data of a method that answers with logits; refuse texts there, by the method's name."""
        return without_texts(x, name)

    def _class_weights(self, class_weight: Any, sample_weight: Any) -> dict[str, float] | None:
        if class_weight is None:
            return None
        if sample_weight is not None:
            raise DataError("Rows are weighed once. Received: sample_weight and class_weight. Multiply them into one.")
        return text_rows.class_weights(class_weight, self.labels)

    def _rows(self, x: Any, y: Any, sample_weight: Any, weights: Mapping[str, float] | None) -> Columns:
        columns = self._with_tasks(columns_of(x, y, sample_weight))
        tell_cut_texts(
            columns["encoder_text"],
            columns["decoder_text"],
            self.batches.t5.tokenize,
            max_input_tokens=self.batches.max_input_tokens,
            max_target_tokens=self.batches.max_target_tokens,
            places=self.batches.places,
        )
        if WEIGHT in columns and not columns[WEIGHT].any():
            raise DataError("At least one row must count. Received: a `sample_weight` of 0 for every row.")
        if not weights:
            return columns
        if not set(weights) & set(columns["decoder_text"]):
            raise DataError(
                f"`class_weight` must name targets. Received: {list(weights)}, and no row with such a target."
            )
        columns = text_rows.weighted_by_class(columns, weights)
        if not columns[WEIGHT].any():
            raise DataError(f"At least one row must count. Received: class_weight={dict(weights)}, 0 for every row.")
        return columns

    def _with_tasks(self, columns: Columns) -> Columns:
        """Turn task names into indices; refuse tasks where the model has one, and the other way round."""
        task_id = columns.pop("task_id", None)
        indices = self.batches.task_indices(task_id, len(columns["encoder_text"]))
        return columns if indices is None else {**columns, "task_id": indices}

    def _of_rows(
        self,
        rows: Columns,
        batch_size: int | None,
        shuffle: bool = False,
        steps: int | None = None,
        *,
        repeat: bool = False,
    ) -> Feed:
        """Batch rows in memory; as of arrays, steps without a batch size set it so that they read every row."""
        num_rows = len(rows["encoder_text"])
        states = {} if self.states_of is None else self.states_of(rows["encoder_text"])
        if states:
            rows = {**rows, _ROW: np.arange(num_rows)}
        size = checked_size(batch_size) or (math.ceil(num_rows / steps) if steps else BATCH_SIZE)
        if shuffle:
            batched = shuffled_by_length(rows, batch_size=size)
        else:
            batched = tf.data.Dataset.from_tensor_slices(rows).batch(size)
        batched = batched.apply(tf.data.experimental.assert_cardinality(math.ceil(num_rows / size)))
        width = self.batches.short_width(rows["decoder_text"])
        tokenized = mapped(
            batched.repeat() if repeat else batched,
            lambda columns: self._tokenized(columns, states=states, target_width=width),
        )
        return Feed(prefetched(tokenized))

    def _of_batches(self, x: Any, weights: Mapping[str, float] | None, shuffle: bool) -> Feed:
        if isinstance(x, tf.data.Dataset):
            check_has_rows(x)
            if not has_texts(x):
                check_no_class_weight(weights)
                return Feed(x)
            check_text_dataset(x, self.batches, weights)
            passing = self._passing()
            tokenized = mapped(
                x,
                lambda *part: self._tokenized(own_columns(part, weights), passing),
                num_parallel_calls=tf.data.AUTOTUNE,
            )
            return Feed(tokenized, tell=passing.tell, is_empty=lambda: passing.is_empty)
        stream = Stream(x, shuffle=shuffle)
        if not is_text_batch(stream.first):
            check_no_class_weight(weights)
            return Feed(stream.as_it_came())
        return self._of_stream(stream, weights)

    def _of_stream(self, stream: Stream, weights: Mapping[str, float] | None) -> Feed:
        has_weight = bool(weights) or unpacked(stream.first)[2] is not None

        def columns(batch: Any) -> Columns:
            made = self._with_tasks(batch_columns(batch))
            if (WEIGHT in made or bool(weights)) != has_weight or (weights and WEIGHT in made):
                raise DataError(
                    "Either every batch has weights or none, and none beside class_weight. Received: both kinds."
                )
            return text_rows.weighted_by_class(made, weights) if weights else made

        columns(stream.first)  # what is wrong with it is said before anything runs
        passing = self._passing()
        has_task_id = self.batches.task_ids is not None
        dataset, failures = stream_dataset(stream, columns, has_task_id=has_task_id, has_weight=has_weight)
        dataset = mapped(dataset, lambda batch: self._tokenized(batch, passing))
        if stream.num_batches is not None:
            dataset = dataset.apply(tf.data.experimental.assert_cardinality(stream.num_batches))
        return Feed(dataset, failures=failures, tell=passing.tell, is_empty=lambda: passing.is_empty)

    def _passing(self) -> PassingTexts:
        limits = {name: getattr(self.batches, name) for name in ("max_input_tokens", "max_target_tokens")}
        return PassingTexts(**limits)

    def _tokenized(
        self,
        columns: Mapping[str, tf.Tensor],
        passing: PassingTexts | None = None,
        states: Mapping[str, TakeStates] | None = None,
        target_width: int | None = None,
    ) -> tuple[Any, ...]:
        """Turn a batch of columns into `(tokens, targets)`, or `(tokens, targets, weights)`, inside a graph."""
        note = None if passing is None else passing.note
        tokens, targets = self.batches.tokenize(columns, note, target_width=target_width)
        for name, take in (states or {}).items():
            tokens[name] = take(columns[_ROW], tf.shape(tokens["encoder_token_ids"])[1])
        return (tokens, targets, columns[WEIGHT]) if WEIGHT in columns else (tokens, targets)


def _of_tokens(x: Any, y: Any, sample_weight: Any, class_weight: Any = None) -> Feed:
    check_no_class_weight(class_weight)
    check_has_rows(x)
    return Feed(x, y, sample_weight, is_batched=False)
