"""Put spaces around punctuation, as T5 does for question answering."""

import re
from collections.abc import Iterator
from typing import Any

from softprompt_tf.tasks.rows import Row

# Ranges of RE2, which T5's data went through: only ASCII letters and digits are letters to it.
_NO_LETTER = re.compile("([^0-9A-Za-z_])")
_SPACES = re.compile("[\t\n\f\r ]+")
_PADDED = ("question", "context", "answer", "answers")


def pad_punctuation(row: Row) -> Iterator[Row]:
    """Yield the row with a space on both sides of every character that is no ASCII letter, digit or underscore.

    Args:
      row: as `squad` leaves it.

    Returns:
      A row whose `question`, `context`, `answer` and `answers` are padded, with one space for every run of spaces and none at
      the ends; other fields as they are. The metrics then compare padded texts with padded texts, as T5's do. Without this
      step, the texts are compared as SQuAD's own script compares them.

    Source: google-research/text-to-text-transfer-transformer, `t5/data/preprocessors.py:_pad_punctuation` and `squad`. Letters
    with accents are padded too, as there.
    """
    yield Row({key: _padded(value) if key in _PADDED else value for key, value in row.values.items()}, row.location)


def _padded(value: Any) -> Any:
    if isinstance(value, str):
        return _SPACES.sub(" ", _NO_LETTER.sub(r" \1 ", value)).strip(" ")
    if isinstance(value, list | tuple):
        return tuple(_padded(item) for item in value)
    return value
