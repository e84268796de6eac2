"""Where the rows of a prompt go: in front of the text, where markers in the text say, or behind it.

A text that is tokenized for rows in other places than in front has a placeholder for each row, an id that no tokenizer gives. The
embedding puts the rows in the places of the placeholders, from left to right, so that T5's relative positions need no special case.
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from softprompt_tf.errors import DataError

Tokenize = Callable[[list[str]], Sequence[Sequence[int]]]
"""Texts -> token ids, without the end of sequence."""

POSITIONS = ("front", "marked", "end")
IN_TEXT_ID, AT_END_ID = -1, -2  # placeholders of rows where markers say, and behind the text
# A marker such as "{prompt:3}". The patterns mean the same in RE2 and in Python.
MARKER_BODY = r"prompt:[1-9][0-9]{0,8}\}"
MARKER = r"\{" + MARKER_BODY
TOO_MANY_ROWS = "Markers must ask for no more rows than the prompt has. Received: "
TOO_MANY_ROWS_HINT = "Make the prompt longer, or write what is no marker with a space: `{ prompt:3}`."
_MARKER = re.compile(MARKER)


class TextPlaces(NamedTuple):
    """How many rows of a task do not go in front of its texts.

    Args:
      in_text: rows that go where markers say. Those that no marker asks for go in front.
      at_end: rows behind the text, in front of the end of sequence.
    """

    in_text: int = 0
    at_end: int = 0

    def tokenize(self, texts: Sequence[str], tokenize: Tokenize) -> Sequence[Sequence[int]]:
        """Turn texts into ids with a placeholder for each row, without an end of sequence.

        Each stretch of text between markers is tokenized as a text of its own.

        Raises:
          DataError: if a text's markers ask for more rows than there are.
        """
        if self == NO_PLACES:
            return tokenize(list(texts))
        rows = self._marked(texts, tokenize) if self.in_text else tokenize(list(texts))
        return [[*row, *[AT_END_ID] * self.at_end] for row in rows]

    def without_markers(self, texts: Sequence[str]) -> list[str]:
        """Return texts of about as many pieces, without what stands for rows."""
        return [_MARKER.sub(" ", text) for text in texts] if self.in_text else list(texts)

    def _marked(self, texts: Sequence[str], tokenize: Tokenize) -> list[list[int]]:
        stretches = [_MARKER.split(text) for text in texts]
        ids = iter(tokenize([stretch for of_text in stretches for stretch in of_text]))
        rows = []
        for text in texts:
            counts = marker_counts(text)
            missing = self.in_text - sum(counts)
            if missing < 0:
                raise DataError(too_many_rows(sum(counts), self.in_text, f"the text {text[:80]!r}"))
            row = [IN_TEXT_ID] * missing
            for count in [*counts, 0]:
                row += [*next(ids), *[IN_TEXT_ID] * count]
            rows.append(row)
        return rows


NO_PLACES = TextPlaces()


def marker_counts(text: str) -> list[int]:
    """Return how many rows each marker of a text asks for."""
    return [int(marker[len("{prompt:") : -1]) for marker in _MARKER.findall(text)]


def parted_at_markers(text: str) -> list[str]:
    """Return what lies between the markers of a text, at even places, and the markers, at odd ones."""
    return re.split(f"({MARKER})", text)


def plain_text(text: str) -> str:
    """Return a text with a space in each marker, so that it is one no more: "{prompt:3}" becomes "{ prompt:3}"."""
    return _MARKER.sub(lambda found: "{ " + found[0][1:], text)


def as_template(text: str) -> str:
    """Return literal text with braces as a template has them, markers left as they are."""
    parts = parted_at_markers(text)
    return "".join(
        part if place % 2 else part.replace("{", "{{").replace("}", "}}") for place, part in enumerate(parts)
    )


def rows_of_template(template: str) -> int:
    """Return how many rows the markers of a template ask for; a brace that is written twice is a plain one."""
    return sum(marker_counts(template.replace("{{", "")))


def too_many_rows(asked: int, num_rows: int, subject: str) -> str:
    """Return the message for markers that ask for more rows than there are."""
    return f"{TOO_MANY_ROWS}{subject} asks for {asked} of {num_rows} rows. {TOO_MANY_ROWS_HINT}"


def cut_ids(ids: Sequence[int], limit: int) -> Sequence[int]:
    """Cut a text's ids to so many tokens; placeholders stay, and do not count."""
    if len(ids) <= limit or min(ids) >= 0:
        return ids[:limit]
    kept, room = [], limit
    for token in ids:
        if token < 0 or room > 0:
            kept.append(token)
        room -= token >= 0
    return kept
