"""Checks of the arguments of `fit` and `evaluate` that go with texts."""

import math
from typing import Any

import numpy as np

from softprompt_tf.errors import ConfigError, DataError


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


def split_at(num_rows: int, validation_split: float) -> int:
    """Return how many rows are trained on: the first ones, as in Keras."""
    split = math.floor(num_rows * (1.0 - validation_split)) if 0 < validation_split < 1 else 0
    if not 0 < split < num_rows:
        raise DataError(
            f"`validation_split` must leave rows on both sides. Received: validation_split={validation_split} of {num_rows} rows."
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
