"""Base64 in JSON; which strings pass is written by hand after absl's `Base64Unescape`, recorded ones among them."""

import pytest

from softprompt_tf.errors import ServingError
from softprompt_tf.export.server.json_base64 import decode_base64_object, is_base64_object
from softprompt_tf.export.server.json_reader import parse_json


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"", b""),
        (b"YWJjZA==", b"abcd"),
        (b"YWJjZA", b"abcd"),
        (b"YWJjZA..", b"abcd"),
        (b"YWJj ZA==", b"abcd"),
        (b"YWJj\\nZA\\t==", b"abcd"),
        (b"//4=", b"\xff\xfe"),
    ],
)
def test_what_tf_serving_decodes_is_decoded(text, value):
    assert decode_base64_object(parse_json(b'{"b64": "%s"}' % text)) == value


@pytest.mark.parametrize("text", [b"!!!", b"_-8=", b"Y", b"YWJjZA=", b"YWJj====", b"YQ==YQ=="])
def test_what_tf_serving_refuses_is_refused(text):
    with pytest.raises(ServingError, match="^Unable to base64 decode$"):
        decode_base64_object(parse_json(b'{"b64": "%s"}' % text))


@pytest.mark.parametrize("text", [b"{}", b'{"b64": 3}', b'{"b64": "YQ==", "x": 1}', b'{"B64": "YQ=="}'])
def test_another_object_is_no_base64(text):
    assert not is_base64_object(parse_json(text))
    with pytest.raises(ServingError, match="not formatted correctly for base64 data$"):
        decode_base64_object(parse_json(text))
