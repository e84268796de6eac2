"""Write a JSON value as one line, whatever its texts hold."""

import json
from typing import Any

# Ends of lines to Unicode, and so to `str.splitlines`, that JSON lets stand in a text.
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "\x85\u2028\u2029"}


def json_line(value: Any, *, allow_nan: bool = True) -> str:
    """Return a JSON value as text without an end of a line, letters of all scripts as they are.

    Raises:
      ValueError: of a number that is not finite, without `allow_nan`.
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=allow_nan).translate(_ESCAPES)
