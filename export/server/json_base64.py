"""Read bytes in JSON, {"b64": "..."}, with the tolerance of TF Serving.

Source: tensorflow/serving util/json_tensor.cc (`JsonDecodeBase64Object`); absl/strings/escaping.cc (`Base64Unescape`).
"""

import base64
import re

from softprompt_tf.errors import ServingError
from softprompt_tf.export.server.json_reader import Json, Object
from softprompt_tf.export.server.json_writer import quote

_SPACE = re.compile(rb"[ \t\n\v\f\r]+")
_BASE64 = re.compile(rb"([A-Za-z0-9+/]*)[=.]*")


def is_base64_object(value: Json) -> bool:
    """Return whether a value is an object with the one member `b64`, which is a string."""
    if not isinstance(value, Object) or len(value.members) != 1:
        return False
    name, content = value.members[0]
    return name == b"b64" and isinstance(content, bytes)


def decode_base64_object(value: Object) -> bytes:
    """Decode as TF Serving does: blanks are passed over, and padding may be missing."""
    if not is_base64_object(value):
        raise _refusal(f"JSON Value: {quote(value)} not formatted correctly for base64 data")
    match = _BASE64.fullmatch(_SPACE.sub(b"", value.members[0][1]))
    padding = b"" if match is None else match[0][len(match[1]) :]
    if match is None or len(match[1]) % 4 == 1 or (padding and len(match[0]) % 4) or len(padding) > 2:
        raise _refusal("Unable to base64 decode")
    return base64.b64decode(match[1] + b"=" * (-len(match[1]) % 4))


def _refusal(message: str) -> ServingError:
    return ServingError(message, status="INVALID_ARGUMENT")
