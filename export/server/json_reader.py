"""Parse a JSON body as TF Serving does: the same tolerance, and the same texts and offsets of errors.

Python's `json` module cannot be used: TF Serving keeps every member of an object, in order, where a name is repeated;
it stops after the first document; and it does not check that strings are UTF-8, so they are bytes here.

Source: RapidJSON 1.1.0 reader.h (`IterativeParse` with kParseNanAndInfFlag and kParseStopWhenDoneFlag), error/en.h.
"""

import re
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from softprompt_tf.errors import ServingError

# None, bool, int, float, bytes, a list, or an Object.
Json: TypeAlias = Any

_SPACE = re.compile(rb"[ \n\r\t]*")
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_NUMBER = re.compile(rb"(-?)(0|[1-9][0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?)([0-9]*))?")
_HEX = re.compile(rb"[0-9A-Fa-f]{0,4}")
_LITERALS: dict[bytes, tuple[bytes, Json]] = {b"n": (b"null", None), b"t": (b"true", True), b"f": (b"false", False)}
_ESCAPES = {
    b'"': b'"',
    b"\\": b"\\",
    b"/": b"/",
    b"b": b"\b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
}
_LARGEST_EXPONENT = 308

# What the parser has just read -> what is missing when the next character does not fit.
_MISSING = {
    "start": "The document is empty.",
    "object start": "Missing a name for object member.",
    "member comma": "Missing a name for object member.",
    "name": "Missing a colon after a name of object member.",
    "member": "Missing a comma or '}' after an object member.",
    "colon": "Invalid value.",
    "array start": "Invalid value.",
    "element comma": "Invalid value.",
    "element": "Missing a comma or ']' after an array element.",
}


@dataclass
class Object:
    """A JSON object: its members in order, repeated names included."""

    members: list[tuple[bytes, Json]] = field(default_factory=list)

    def find(self, name: bytes) -> tuple[Json, ...]:
        """Return the value of the first member of that name in a tuple; the empty tuple where there is none."""
        return next(((value,) for key, value in self.members if key == name), ())


def parse_json(text: bytes) -> Json:
    """Return the first JSON document in `text`; what follows it is not looked at.

    Raises:
      ServingError: with status INVALID_ARGUMENT and the text that TF Serving has.
    """
    if not text:
        raise ServingError("JSON Parse error: The document is empty", status="INVALID_ARGUMENT")
    return _Parser(text).parse()


class _Parser:
    """One pass over the text without recursion, so that depth costs no stack."""

    def __init__(self, text: bytes):
        self._text = text
        self._at = 3 if text.startswith(b"\xef\xbb\xbf") else 0
        self._state = "start"
        self._open: list[list[Json] | Object] = []
        self._names: list[bytes] = []  # of the members under way, one per open object that has one
        self._root: list[Json] = []

    def parse(self) -> Json:
        while not self._root:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
            self._step(self._peek())
        return self._root[0]

    def _peek(self) -> bytes:
        """Return the next character; the end of the text reads as NUL, as in C++."""
        return self._text[self._at : self._at + 1] or b"\0"

    def _step(self, character: bytes) -> None:
        state = self._state
        if character == b"\0":
            raise self._error(_MISSING[state])
        if state in ("object start", "member comma") and character == b'"':
            self._names.append(self._string())
            self._state = "name"
        elif state == "name" and character == b":":
            self._move("colon")
        elif state in ("member", "element") and character == b",":
            self._move(f"{state} comma")
        elif (state in ("object start", "member") and character == b"}") or (
            state in ("array start", "element") and character == b"]"
        ):
            self._at += 1
            self._add(self._open.pop())
        elif state in ("start", "colon", "array start", "element comma") and character not in b"]},:":
            self._value(character)
        else:
            raise self._error(_MISSING[state])

    def _move(self, state: str) -> None:
        self._at += 1
        self._state = state

    def _value(self, character: bytes) -> None:
        if character == b"{":
            self._open.append(Object())
            self._move("object start")
        elif character == b"[":
            self._open.append([])
            self._move("array start")
        elif character == b'"':
            self._add(self._string())
        elif character in _LITERALS:
            word, value = _LITERALS[character]
            self._word(word)
            self._add(value)
        else:
            self._add(self._number())

    def _add(self, value: Json) -> None:
        if not self._open:
            self._root.append(value)
        elif isinstance(parent := self._open[-1], Object):
            parent.members.append((self._names.pop(), value))
            self._state = "member"
        else:
            parent.append(value)
            self._state = "element"

    def _word(self, word: bytes) -> None:
        for code in word:
            if self._text[self._at : self._at + 1] != bytes([code]):
                raise self._error("Invalid value.")
            self._at += 1

    def _number(self) -> int | float:
        start = self._at
        match = _NUMBER.match(self._text, start)
        if match is None:
            return self._infinity_or_nan()
        sign, digits, fraction, _, exponent = match.groups()
        self._at = match.end()
        if fraction == b"":
            self._at = match.end(3)
            raise self._error("Miss fraction part in number.")
        if exponent == b"":
            raise self._error("Miss exponent in number.")
        if fraction is None and exponent is None and len(digits) <= 20:
            whole = int(sign + digits)
            if -(2**63) <= whole < 2**64:
                return whole
        limit = _LARGEST_EXPONENT + len(fraction or b"")
        if (exponent and match[4] != b"-" and int(exponent[:20]) > limit) or len(digits) > _LARGEST_EXPONENT + 1:
            raise self._error("Number too big to be stored in double.", at=start)
        return float(match[0])

    def _infinity_or_nan(self) -> float:
        negative = self._peek() == b"-"
        self._at += negative
        if self._peek() == b"N":
            self._word(b"NaN")
            return float("nan")
        self._word(b"Inf")
        if self._peek() == b"i":
            self._word(b"inity")
        return float("-inf") if negative else float("inf")

    def _string(self) -> bytes:
        self._at += 1
        parts = []
        while True:
            plain = _PLAIN.match(self._text, self._at)
            assert plain is not None  # it matches nothing at all too
            parts.append(plain[0])
            self._at = plain.end()
            character = self._peek()
            if character == b'"':
                self._at += 1
                return b"".join(parts)
            if character == b"\0":
                raise self._error("Missing a closing quotation mark in string.")
            if character != b"\\":
                raise self._error("Invalid escape character in string.")
            parts.append(self._escape())

    def _escape(self) -> bytes:
        start = self._at
        kind = self._text[start + 1 : start + 2]
        self._at += 2
        if kind in _ESCAPES and kind:
            return _ESCAPES[kind]
        if kind != b"u":
            raise self._error("Invalid escape character in string.", at=start)
        code = self._hex(start)
        if 0xD800 <= code <= 0xDBFF:
            if self._text[self._at : self._at + 2] != b"\\u":
                raise self._error("The surrogate pair in string is invalid.", at=start)
            self._at += 2
            low = self._hex(start)
            if not 0xDC00 <= low <= 0xDFFF:
                raise self._error("The surrogate pair in string is invalid.", at=start)
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
        return chr(code).encode(errors="surrogatepass")  # a low half alone passes, as bytes that are no UTF-8

    def _hex(self, start: int) -> int:
        digits = _HEX.match(self._text, self._at)
        if digits is None or len(digits[0]) < 4:
            raise self._error("Incorrect hex digit after \\u escape in string.", at=start)
        self._at = digits.end()
        return int(digits[0], 16)

    def _error(self, message: str, *, at: int | None = None) -> ServingError:
        offset = self._at if at is None else at
        return ServingError(f"JSON Parse error: {message} at offset: {offset}", status="INVALID_ARGUMENT")
