"""Show words of any script in a terminal, so that a row of a table is one line and columns are straight."""

import re
import unicodedata

_OUT_OF_LINE = re.compile("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")  # ends of lines, controls, turns of direction


def shown_width(text: str) -> int:
    """Return the columns that a terminal of fixed-width letters shows a text in; wide letters, such as Chinese ones, take two."""
    return sum(map(_columns, text))


def in_one_line(text: str) -> str:
    """Return a text as it is, or as Python writes it where it would end the line or turn its order, or has blanks at its ends."""
    return repr(text) if _OUT_OF_LINE.search(text) or text != text.strip() else text


def padded(text: str, width: int) -> str:
    """Return a text with blanks behind it, so that it fills `width` columns of a terminal."""
    return text + " " * (width - shown_width(text))


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):  # accents of their own, and what cannot be seen
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
