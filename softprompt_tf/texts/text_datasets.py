"""A `tf.data.Dataset` of texts: what it must look like, and the columns of its batches, inside a graph."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from softprompt_tf.errors import DataError
from softprompt_tf.texts.text_batches import TextBatches
from softprompt_tf.texts.text_rows import TEXT_KEYS, WEIGHT, check_names


def has_texts(dataset: tf.data.Dataset) -> bool:
    """Say whether any part of a dataset is strings, or is named as texts are.

    Raises:
      DataError: if its strings are not batched.
    """
    spec = dataset.element_spec
    strings = [part for part in tf.nest.flatten(spec) if getattr(part, "dtype", None) == tf.string]
    first = spec[0] if isinstance(spec, tuple) and spec else spec
    if not strings:
        return isinstance(first, Mapping) and any(name in first for name in TEXT_KEYS)
    if any(part.shape.rank == 0 for part in strings):
        raise DataError(
            "A dataset of texts must be batched: string tensors of shape [B]. Received: scalars. Call .batch(32)."
        )
    return True


def check_text_dataset(dataset: tf.data.Dataset, batches: TextBatches, weights: Mapping[str, float] | None) -> None:
    """Refuse a dataset of texts that the model cannot read, before anything runs.

    Args:
      dataset: of texts.
      batches: what will read it.
      weights: label word -> weight; then the dataset has no weights of its own.

    Raises:
      DataError: if a column is missing or too many, or has another dtype or shape than it must; if rows are weighed twice.
    """
    spec = dataset.element_spec
    first, *others = spec if isinstance(spec, tuple) else (spec,)
    if len(others) > 2 or any(isinstance(part, Mapping) for part in others):
        raise DataError("A dataset of texts gives inputs, targets and weights. Received: " + str(spec)[:200])
    columns = dict(first) if isinstance(first, Mapping) else {"encoder_text": first}
    check_names([*columns, *(["decoder_text"] if others else [])], has_y=bool(others))
    columns.update(zip(("decoder_text", WEIGHT), others, strict=False))
    if weights and WEIGHT in columns:
        raise DataError(
            "Rows are weighed once. Received: class_weight, and a dataset with weights. Leave one of them out."
        )
    for name in (*TEXT_KEYS, WEIGHT, "task_id"):
        if name in columns:
            _check_column(name, columns[name])
    if (batches.task_ids is None) == ("task_id" in columns):
        batches.task_indices(columns.get("task_id"), 0)  # raises


def own_columns(element: tuple[Any, ...], weights: Mapping[str, float] | None) -> dict[str, tf.Tensor]:
    """Return the columns of one batch, `(dictionary,)`, `(inputs, targets)` or `(inputs, targets, weights)`, in a graph.

    Args:
      element: the batch.
      weights: label word -> weight, which then weighs each row by its target.
    """
    first, *others = element
    columns = dict(first) if isinstance(first, Mapping) else {"encoder_text": first}
    columns.update(zip(("decoder_text", WEIGHT), others, strict=False))
    if weights:
        columns[WEIGHT] = _weights_of(_flat(columns["decoder_text"]), weights)
    elif WEIGHT in columns:
        columns[WEIGHT] = _checked_weights(tf.cast(columns[WEIGHT], tf.float32))
    return {name: _flat(column) for name, column in columns.items() if name in (*TEXT_KEYS, WEIGHT, "task_id")}


def _checked_weights(weights: tf.Tensor) -> tf.Tensor:
    """Refuse weights that are no finite numbers, 0 or more, inside a graph."""
    is_right = tf.math.is_finite(weights) & (weights >= 0)
    wrong = tf.boolean_mask(tf.reshape(weights, [-1]), tf.reshape(tf.logical_not(is_right), [-1]))[:1]
    received = tf.strings.reduce_join(tf.strings.as_string(wrong, shortest=True))
    rule = "`sample_weight` must have finite numbers, 0 or more, one for each. Received: "
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(is_right), [rule + received + "."])]):
        return tf.identity(weights)


def _weights_of(targets: tf.Tensor, weights: Mapping[str, float]) -> tf.Tensor:
    is_it = tf.equal(targets[:, None], tf.constant(list(weights))[None])  # [B, C]
    found = tf.reduce_sum(tf.where(is_it, tf.constant(list(weights.values()), tf.float32), 0.0), axis=1)
    return tf.where(tf.reduce_any(is_it, axis=1), found, 1.0)


def _flat(column: tf.Tensor) -> tf.Tensor:
    """[B, 1], and what does not say its rank, to [B]; [B] stays."""
    if column.shape.rank is None:
        return tf.reshape(column, [-1])
    return column[:, 0] if column.shape.rank == 2 else column


def _check_column(name: str, spec: Any) -> None:
    kinds = {WEIGHT: "numbers", "task_id": "names or indices"}
    dtype, shape = getattr(spec, "dtype", None), getattr(spec, "shape", tf.TensorShape(None))
    is_number = dtype is not None and (dtype.is_floating or dtype.is_integer)
    is_right = {WEIGHT: is_number, "task_id": dtype == tf.string or (dtype is not None and dtype.is_integer)}
    if not isinstance(spec, tf.TensorSpec) or not is_right.get(name, dtype == tf.string):
        kind = kinds.get(name, "strings")
        hint = " Map label numbers to words first, such as by tf.gather(labels, y)." if name == "decoder_text" else ""
        raise DataError(
            f"`{name}` of a dataset of texts must be {kind} [B]. Received: {getattr(dtype, 'name', type(spec).__name__)}.{hint}"
        )
    if not (shape.rank in (None, 1) or (shape.rank == 2 and shape[1] == 1)):
        raise DataError(f"`{name}` of a dataset of texts must have one entry for each row. Received: shape {shape}.")
