"""Parsing as RapidJSON does. Texts and offsets follow its source; those of the recorded contract are among them."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softprompt_tf.errors import ServingError
from softprompt_tf.export.server.json_reader import Object, parse_json

VALUES = {
    b"3": 3,
    b" [1, 2.5, -0, 1e3, true, false, null]": [1, 2.5, 0, 1000.0, True, False, None],
    b"\xef\xbb\xbf{}": Object([]),  # a byte order mark
    b'{"a": 1, "a": 2}': Object([(b"a", 1), (b"a", 2)]),
    b"[] garbage": [],  # reading stops after the first document
    b"{}{}": Object([]),
    b"01": 0,
    b'"\xff\xfe"': b"\xff\xfe",
    rb'"\u00e9\ud83d\ude00\n\/"': "é😀\n/".encode(),
    rb'"a\u0000b"': b"a\0b",
    rb'"\udc00"': b"\xed\xb0\x80",  # a low half alone, as it stands
    b"18446744073709551615": 2**64 - 1,
    b"18446744073709551616": float(2**64),
    b"-9223372036854775808": -(2**63),
    b"-9223372036854775809": -float(2**63),
    b"[Inf, -Infinity]": [math.inf, -math.inf],
    b"[" * 3000 + b"]" * 3000: None,
}
ERRORS = {
    b"": "The document is empty",
    b"   ": "The document is empty. at offset: 3",
    b"]": "The document is empty. at offset: 0",
    b"{": "Missing a name for object member. at offset: 1",
    b"{'a':1}": "Missing a name for object member. at offset: 1",
    b'{"a":1,}': "Missing a name for object member. at offset: 7",
    b'{"a" 1}': "Missing a colon after a name of object member. at offset: 5",
    b'{"a":1 "b"': "Missing a comma or '}' after an object member. at offset: 7",
    b'{"a":}': "Invalid value. at offset: 5",
    b"[1,]": "Invalid value. at offset: 3",
    b"[01]": "Missing a comma or ']' after an array element. at offset: 2",
    b"[1": "Missing a comma or ']' after an array element. at offset: 2",
    b"nope": "Invalid value. at offset: 1",
    b"[nul]": "Invalid value. at offset: 4",
    b"Nan": "Invalid value. at offset: 2",
    b"-Infinite": "Invalid value. at offset: 8",
    b"-": "Invalid value. at offset: 1",
    b"1.": "Miss fraction part in number. at offset: 2",
    b"1e+": "Miss exponent in number. at offset: 3",
    b"[1e400]": "Number too big to be stored in double. at offset: 1",
    b"[" + b"9" * 400 + b"]": "Number too big to be stored in double. at offset: 1",
    b'["a\nb"]': "Invalid escape character in string. at offset: 3",
    rb'["\x"]': "Invalid escape character in string. at offset: 2",
    rb'["\u12g4"]': "Incorrect hex digit after \\u escape in string. at offset: 2",
    rb'["ab\ud800"]': "The surrogate pair in string is invalid. at offset: 4",
    rb'["\ud800\u0041"]': "The surrogate pair in string is invalid. at offset: 2",
    b'["ab': "Missing a closing quotation mark in string. at offset: 4",
    b'{"a"\0:1}': "Missing a colon after a name of object member. at offset: 4",
}


@pytest.mark.parametrize("text", VALUES, ids=lambda text: repr(text[:30]))
def test_a_document_is_read(text):
    value = parse_json(text)

    assert VALUES[text] is None or value == VALUES[text]


def test_not_a_number_is_read():
    assert math.isnan(parse_json(b"NaN"))


@pytest.mark.parametrize("text", ERRORS, ids=lambda text: repr(text[:30]))
def test_an_error_has_the_text_and_the_offset_of_tf_serving(text):
    with pytest.raises(ServingError) as caught:
        parse_json(text)

    assert (str(caught.value), caught.value.status) == (f"JSON Parse error: {ERRORS[text]}", "INVALID_ARGUMENT")


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def as_read(value):
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict):
        return Object([(name.encode(), as_read(item)) for name, item in value.items()])
    return [as_read(item) for item in value] if isinstance(value, list) else value


@given(value=PLAIN, is_ascii=st.booleans(), indent=st.none() | st.just(1))
@settings(deadline=None, derandomize=True)
def test_what_python_writes_is_read_as_python_wrote_it(value, is_ascii, indent):
    text = json.dumps(value, ensure_ascii=is_ascii, indent=indent)

    assert parse_json(text.encode()) == as_read(value)


@given(text=st.binary(max_size=30) | st.text(alphabet='[]{}:,"\\u0d8-+.eENIantrufls ', max_size=30).map(str.encode))
@settings(deadline=None, derandomize=True)
def test_any_bytes_are_read_or_refused(text):
    try:
        parse_json(text)
    except ServingError as error:
        assert "JSON Parse error" in str(error)
