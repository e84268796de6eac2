"""Find the model, version or label in the path of a REST request.

Source: tensorflow/serving model_servers/http_rest_api_util.cc (patterns, decoding), util/net_http/server (what is taken
for the path); libevent http.c (`evhttp_uri_parse`).
"""

import re
import urllib.parse
from dataclasses import dataclass

from tensorflow_serving.apis import model_pb2

from softprompt_tf.errors import ServingError

_CHARACTER = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})"
_TARGET = re.compile(
    r"(?:[A-Za-z][A-Za-z0-9+\-.]*:)?"  # scheme
    rf"(?://(?:{_CHARACTER}|[\[\]])*)?"  # host
    rf"(?P<path>(?:{_CHARACTER}|/)*)"
    rf"(?P<rest>(?:\?(?:{_CHARACTER}|[/?])*)?(?:#(?:{_CHARACTER}|[/?])*)?)"
)
_API = re.compile(r"/v1/.*", re.IGNORECASE)
_MODEL = r"/([^/:]+)"
_VERSION = r"(?:/versions/([0-9]+)|/labels/([^/:]+))?"
_POST_PATH = re.compile(rf"/v1/models{_MODEL}{_VERSION}:(classify|regress|predict)", re.IGNORECASE)
_VERSION_DIGITS = 19  # of the largest 64-bit integer
_GET_PATH = re.compile(rf"/v1/models(?:{_MODEL})?{_VERSION}(?:/(metadata))?", re.IGNORECASE)


@dataclass(frozen=True)
class Question:
    """What is asked of which model; `what` is "predict", "classify", "regress", "status" or "metadata"."""

    what: str
    spec: model_pb2.ModelSpec


def split_target(target: str) -> str | None:
    """Return the path of a request's target with its query and fragment; None where the target is no URI."""
    match = _TARGET.fullmatch(target)
    return None if match is None else (match["path"] or "/") + match["rest"]


def is_api_path(path: str) -> bool:
    return _API.fullmatch(path) is not None


def read_question(method: str, path: str) -> Question | None:
    """Return what a request for `path` asks; None where its version is too large for a number.

    Raises:
      ServingError: with status INVALID_ARGUMENT, if the server has no such path, or the path names no model.
    """
    pattern = {"POST": _POST_PATH, "GET": _GET_PATH}.get(method)
    match = pattern.fullmatch(path) if pattern else None
    if match is None:
        raise _malformed(method, path)
    name, version, label, word = match.groups()
    if (version is not None and len(version.lstrip("0")) > _VERSION_DIGITS) or int(version or 0) >= 2**63:
        return None
    spec = _model_spec(name, version, label)
    if method == "GET":
        if name is None:
            raise ServingError("Missing model name in request.", status="INVALID_ARGUMENT")
        return Question("metadata" if word == "metadata" else "status", spec)
    if word not in ("classify", "regress", "predict"):  # the pattern takes any case, what follows does not
        raise _malformed(method, path)
    return Question(word, spec)


def _model_spec(name: str | None, version: str | None, label: str | None) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=urllib.parse.unquote(name or ""))
    if version is not None:
        spec.version.value = int(version)
    if label is not None:
        spec.version_label = urllib.parse.unquote(label)
    return spec


def _malformed(method: str, path: str) -> ServingError:
    return ServingError(f"Malformed request: {method} {path}", status="INVALID_ARGUMENT")
