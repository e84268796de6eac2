"""Checks of the arguments of `fit` and `evaluate` that go with texts."""

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.shown_numbers import counted


def check_alone(x: Any, y: Any, sample_weight: Any, batch_size: int | None, validation_split: float = 0.0) -> None:
    """Refuse what a data set with batches of its own has in itself."""
    given = {
        "y": y,
        "sample_weight": sample_weight,
        "batch_size": batch_size,
        "validation_split": validation_split or None,
    }
    for name, value in given.items():
        if value is not None:
            kind = type(x).__name__.lstrip("_")
            raise DataError(
                f"`{name}` is for data in memory: a data set gives its own batches of (inputs, targets, weights). "
                f"Received: {name} beside a {kind}."
            )


def check_no_class_weight(class_weight: Any) -> None:
    if class_weight is not None:
        raise DataError(
            "`class_weight` needs target texts. Received: token ids, whose classes are positions to Keras. Pass sample_weight, one "
            "number for each row."
        )


def check_has_rows(x: Any) -> None:
    """Refuse token arrays, or a data set, without a row or of one row each: Keras fails in itself, or does nothing.

    Raises:
      DataError: with the name of what is empty, or the shape of what is no batch.
    """
    _check_is_batched(x)
    parts = x.items() if isinstance(x, Mapping) else [(type(x).__name__, x)]
    empty = [name for name, part in parts if any(_num_rows(each) == 0 for each in keras.tree.flatten(part))]
    if empty or (isinstance(x, list | tuple | Mapping) and not x):
        raise DataError(
            f"Data must have at least one row. Received: none in {empty[0] if empty else type(x).__name__}."
        )


def _check_is_batched(x: Any) -> None:
    """Refuse token ids [T] of one row; DataError."""
    spec = getattr(x, "element_spec", x)  # of a `tf.data.Dataset`
    first = spec[0] if isinstance(spec, tuple) and spec else spec
    shape = getattr(first.get("encoder_token_ids"), "shape", None) if isinstance(first, Mapping) else None
    if shape is not None and getattr(shape, "rank", len(shape) if isinstance(shape, tuple) else None) == 1:
        raise DataError(
            f"Token ids must come in batches: encoder_token_ids [B, T]. Received: shape {list(shape)}. Call .batch(32) on a "
            "dataset; give an array of one row an axis in front."
        )


def _num_rows(array: Any) -> int | None:
    """Return the rows of an array, or 0 of a data set that is known to be empty; None where it cannot be said."""
    if callable(getattr(type(array), "cardinality", None)):  # of a `DistributedDataset` it is a property
        return 0 if int(array.cardinality()) == 0 else None
    shape = getattr(array, "shape", None)
    return shape[0] if shape else None


def split_at(num_rows: int, validation_split: float) -> int:
    """Return how many rows are trained on: the first ones, as in Keras."""
    split = math.floor(num_rows * (1.0 - validation_split)) if 0 < validation_split < 1 else 0
    if not 0 < split < num_rows:
        raise DataError(
            f"`validation_split` must leave rows on both sides. Received: validation_split={validation_split} of "
            f"{counted(num_rows, 'row')}."
        )
    return split


def checked_size(batch_size: Any) -> int | None:
    if batch_size is None:
        return None
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise DataError(f"`batch_size` must be a whole number above 0. Received: batch_size={batch_size!r}.")
    return int(batch_size)


def checked_limit(name: str, value: Any) -> int:
    """Return a limit on tokens.

    Raises:
      ConfigError: if it is no whole number above 0.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ConfigError(f"`{name}` must be a whole number above 0. Received: {name}={value!r}.")
    return int(value)
