"""Write JSON as TF Serving does: indented by four, short decimals, and values cut short in messages.

Source: RapidJSON 1.1.0 prettywriter.h and writer.h; tensorflow/serving util/json_tensor.cc (`WriteDecimal`).
"""

import math
import re
from decimal import Decimal
from typing import Any

import numpy as np

from softprompt_tf.export.server.json_reader import Json, Object

MAX_QUOTED_BYTES = 256  # of a JSON value in a message; the value under way is still written

_LARGEST_FLOAT = float(np.finfo(np.float32).max)
_LONGEST_PLAIN, _SMALLEST_PLAIN = 21, -6  # decimal exponents between which a number has none

_ESCAPED = re.compile(rb'["\\\x00-\x1f]')
_SHORT_ESCAPES = {b'"': b'\\"', b"\\": b"\\\\"} | {
    b"\b": b"\\b",
    b"\f": b"\\f",
    b"\n": b"\\n",
    b"\r": b"\\r",
    b"\t": b"\\t",
}


class JsonWriter:
    """Collect the parts of one document.

    Attributes:
      single_line_arrays: whether the elements of an array stay in one line; may be changed on the way.
    """

    def __init__(self, *, single_line_arrays: bool = False):
        self.single_line_arrays = single_line_arrays
        self.num_bytes = 0
        self._parts: list[bytes] = []
        self._levels: list[list[Any]] = []  # [is it an array, how many names and values it holds so far]

    def text(self) -> bytes:
        return b"".join(self._parts)

    def raw(self, value: bytes) -> None:
        """Write a name or a value as it is."""
        self._prefix()
        self._put(value)

    def string(self, value: bytes) -> None:
        """Write a name or a string; bytes that are no UTF-8 stay as they are."""
        self.raw(b'"' + _ESCAPED.sub(_escape, value) + b'"')

    def start(self, *, is_array: bool) -> None:
        self._prefix()
        self._levels.append([is_array, 0])
        self._put(b"[" if is_array else b"{")

    def end(self) -> None:
        is_array, count = self._levels.pop()
        if count and not (is_array and self.single_line_arrays):
            self._put(self._new_line())
        self._put(b"]" if is_array else b"}")

    def _prefix(self) -> None:
        if not self._levels:
            return
        is_array, count = level = self._levels[-1]
        if is_array and self.single_line_arrays:
            self._put(b", " if count else b"")
        elif is_array or count % 2 == 0:
            self._put((b"," if count else b"") + self._new_line())
        else:
            self._put(b": ")
        level[1] += 1

    def _new_line(self) -> bytes:
        return b"\n" + b"    " * len(self._levels)

    def _put(self, part: bytes) -> None:
        self._parts.append(part)
        self.num_bytes += len(part)


def error_body(message: str) -> bytes:
    """Return the body of a refusal."""
    writer = JsonWriter()
    writer.start(is_array=False)
    writer.string(b"error")
    writer.string(to_bytes(message))
    writer.end()
    return writer.text()


def quote(value: Json) -> str:
    """Return a JSON value as messages show it: a large one is cut without a mark."""
    if isinstance(value, float):
        return decimal(np.float32(value) if abs(value) <= _LARGEST_FLOAT else value)
    writer = JsonWriter(single_line_arrays=True)
    todo: list[Any] = [(_write_value, value)]
    while todo and writer.num_bytes <= MAX_QUOTED_BYTES:
        action, argument = todo.pop()
        todo.extend(reversed(action(writer, argument)))
    return to_text(writer.text())


def decimal(value: "np.float32 | float") -> str:
    """Return a float32 or float64 as the fewer of 6 and of 9 or 17 digits that read back as the same number."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "-Infinity" if value < 0 else "Infinity"
    text = f"{value:g}"
    if type(value)(text) != value:
        text = f"{value:.9g}" if isinstance(value, np.float32) else f"{value:.17g}"
    return text if "." in text or "e" in text else f"{text}.0"


def to_text(value: bytes) -> str:
    """Return bytes that may be no UTF-8 as text which `to_bytes` turns back."""
    return value.decode(errors="surrogateescape")


def to_bytes(value: str) -> bytes:
    return value.encode(errors="surrogateescape")


def _write_value(writer: JsonWriter, value: Json) -> list[Any]:
    """Write a value, or the beginning of one that holds others; return what is then to be done."""
    if isinstance(value, Object):
        writer.start(is_array=False)
        parts = [step for name, item in value.members for step in ((_write_value, name), (_write_value, item))]
        return [*parts, (_write_end, None)]
    if isinstance(value, list):
        writer.start(is_array=True)
        return [*((_write_value, item) for item in value), (_write_end, None)]
    if isinstance(value, bytes):
        writer.string(value)
    elif value is None or isinstance(value, bool):
        writer.raw({None: b"null", True: b"true", False: b"false"}[value])
    else:
        writer.raw((str(value) if isinstance(value, int) else _double(value)).encode())
    return []


def _write_end(writer: JsonWriter, _: None) -> list[Any]:
    writer.end()
    return []


def _double(value: float) -> str:
    """Return a number inside a quoted value: all of its digits, with an exponent only where it is very large or small."""
    if not math.isfinite(value):
        return decimal(value)
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    figures, point = "".join(map(str, digits)), len(digits) + int(exponent)
    if len(figures) <= point <= _LONGEST_PLAIN:
        text = figures.ljust(point, "0") + ".0"
    elif 0 < point <= _LONGEST_PLAIN:
        text = f"{figures[:point]}.{figures[point:]}"
    elif _SMALLEST_PLAIN < point <= 0:
        text = "0." + figures.rjust(len(figures) - point, "0")
    else:
        text = f"{figures[0]}{'.' if figures[1:] else ''}{figures[1:]}e{point - 1}"
    return "-" + text if sign else text


def _escape(match: re.Match[bytes]) -> bytes:
    return _SHORT_ESCAPES.get(match[0]) or b"\\u00%02X" % match[0][0]
