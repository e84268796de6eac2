"""Check single fields of a task that are no tensors: texts, and numbers of tokens or columns."""

import re
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


def check_count(name: str, value: Any) -> None:
    """Refuse what is neither None nor a whole number that an export can keep.

    Raises:
      PromptError: with the field's name.
    """
    is_whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if value is not None and not (is_whole and 1 <= value <= LARGEST_COUNT):
        raise PromptError(
            f"`{name}` must be a whole number from 1 to {LARGEST_COUNT}, or None. Received: {name}={value!r}."
        )
