"""Check single fields of a task that are no tensors: texts, and numbers of tokens or columns."""

import re
import sys
from collections.abc import Iterable, Mapping, Set
from typing import Any

import numpy as np

from softprompt_tf.errors import PromptError

LARGEST_COUNT = 2**31 - 1  # exports keep counts as int32
_HALF_PAIR = re.compile("[\ud800-\udfff]")


def check_text(name: str, value: Any) -> None:
    """Refuse what is no string, or holds half of a surrogate pair, which no file can.

    Raises:
      PromptError: with the field's name.
    """
    if not isinstance(value, str):
        raise PromptError(f"`{name}` must be a string. Received: {name}={value!r}.")
    if _HALF_PAIR.search(value):
        raise PromptError(f"`{name}` must be valid Unicode. Received: {name}={value!r}.")


def check_count(name: str, value: Any) -> int | None:
    """Return a whole number that an export can keep, or None; NumPy's whole numbers as Python's, as JSON has no others.

    Raises:
      PromptError: with the field's name.
    """
    is_whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if value is not None and not (is_whole and 1 <= value <= LARGEST_COUNT):
        raise PromptError(
            f"`{name}` must be a whole number from 1 to {LARGEST_COUNT}, or None. Received: {name}={value!r}."
        )
    return None if value is None else int(value)


def is_finite_number(value: Any) -> bool:
    """Say whether a value of a JSON file is a number that a float can hold; whole numbers there may have any length."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def checked_labels(labels: Any) -> tuple[str, ...]:
    """Return labels in their order; what has none, such as a set, is refused, and an iterator is read once.

    Raises:
      PromptError: if they are no sequence of strings of valid Unicode.
    """
    if isinstance(labels, str | Set | Mapping) or not isinstance(labels, Iterable):
        raise PromptError(f"`labels` must be a sequence of strings. Received: labels={labels!r}.")
    labels = tuple(labels)
    if not all(isinstance(label, str) for label in labels):
        raise PromptError(f"`labels` must be a sequence of strings. Received: labels={list(labels)!r}.")
    for label in labels:
        check_text("labels", label)
    return labels


def checked_metrics(metrics: Any) -> dict[str, float]:
    """Return metrics as floats by their names.

    Raises:
      PromptError: if they are no mapping to numbers.
    """
    if not isinstance(metrics, Mapping):
        raise PromptError(f"`metrics` must map names to numbers. Received: metrics={metrics!r:.200}.")
    try:
        return {name: float(value) for name, value in metrics.items()}
    except (TypeError, ValueError, OverflowError) as error:
        raise PromptError(f"`metrics` must hold numbers. Received: metrics={metrics!r}.") from error
