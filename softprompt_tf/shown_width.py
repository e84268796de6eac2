"""How wide a terminal shows a text, so that tables with words of any script have straight columns."""

import unicodedata


def shown_width(text: str) -> int:
    """Return the columns that a terminal of fixed-width letters shows a text in; wide letters, such as Chinese ones, take two."""
    return sum(map(_columns, text))


def padded(text: str, width: int) -> str:
    """Return a text with blanks behind it, so that it fills `width` columns of a terminal."""
    return text + " " * (width - shown_width(text))


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):  # accents of their own, and what cannot be seen
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
