"""Writing as RapidJSON and TF Serving do; layouts are written by hand."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softprompt_tf.export.server.json_reader import parse_json
from softprompt_tf.export.server.json_writer import decimal, error_body, quote

QUOTED = {
    b"3": "3",
    b"1.5": "1.5",
    b"2.0": "2.0",
    b"1e39": "1e+39",
    b"[1e39, 1.5, 0.1, 1e20, 1.25e-7, 0.00001]": "[1e39, 1.5, 0.1, 100000000000000000000.0, 1.25e-7, 0.00001]",
    b"[]": "[]",
    b"{}": "{}",
    b'{"a": [1, {"b": null}], "c": "x\\n\\u0001\\"/"}': '{\n    "a": [1, {\n            "b": null\n        }],\n'
    '    "c": "x\\n\\u0001\\"/"\n}',
}


@pytest.mark.parametrize("text", QUOTED, ids=lambda text: text.decode())
def test_a_value_is_quoted_in_lines_with_its_arrays_in_one(text):
    assert quote(parse_json(text)) == QUOTED[text]


def test_a_large_value_is_cut_after_256_bytes_and_the_value_under_way():
    text = quote(parse_json(json.dumps(["x" * 98] * 5).encode()))

    assert text == '["' + '", "'.join(["x" * 98] * 3) + '"'  # 1 + 100 + 102 + 102 bytes are the first beyond 256


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float32(-0.0016803741), "-0.00168037415"),  # recorded
        (np.float32(0.1), "0.1"),
        (np.float32(9000000), "9e+06"),
        (np.float32(7), "7.0"),
        (np.float32(-0.0), "-0.0"),
        (np.float32(np.nan), "NaN"),
        (np.float32(np.inf), "Infinity"),
        (np.float32(-np.inf), "-Infinity"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e39, "1e+39"),
    ],
)
def test_a_decimal_has_six_digits_or_as_many_as_it_needs(value, text):
    assert decimal(value) == text


@given(value=st.floats(width=32, allow_nan=False, allow_infinity=False))
@settings(deadline=None, derandomize=True)
def test_a_decimal_reads_back_as_the_same_float32(value):
    assert np.float32(decimal(np.float32(value))) == np.float32(value)


@given(value=st.lists(st.floats(allow_nan=False), max_size=3))
@settings(deadline=None, derandomize=True)
def test_a_quoted_number_reads_back(value):
    assert json.loads(quote(value)) == value


def test_an_error_may_hold_bytes_that_are_no_utf8():
    assert error_body('a"\udcff') == b'{\n    "error": "a\\"\xff"\n}'


def test_no_number_is_written_as_a_name():
    assert math.isnan(json.loads(quote([math.nan]))[0])
