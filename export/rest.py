"""The REST form of the model server: JSON over HTTP enters, JSON leaves, with TF Serving's paths, bodies and codes.

POST /v1/models/M[/versions/N|/labels/L]:predict takes rows (`instances`) or columns (`inputs`); GET
/v1/models/M[/versions/N] tells the state of the versions, GET .../metadata the signatures. The requests become the same
messages as over gRPC.

Source: tensorflow/serving model_servers/http_rest_api_util.cc and http_rest_api_handler.cc (paths, order of checks),
model_servers/http_server.cc (codes).
"""

import json
import logging
import re
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2, predict_pb2

from softprompt_tf.errors import ServingError
from softprompt_tf.export.predict_contract import DEFAULT_SIGNATURE
from softprompt_tf.export.rest_json import encode_outputs, parse_object, read_inputs
from softprompt_tf.export.served_models import ServedModels

HTTP_CODES = {
    "OK": 200,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INTERNAL": 500,
    "DATA_LOSS": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}

_MODEL = r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"
_POST_PATH = re.compile(_MODEL + r":(classify|regress|predict)", re.IGNORECASE)
_GET_PATH = re.compile(_MODEL + r"(?:/(metadata))?", re.IGNORECASE)

logger = logging.getLogger(__name__)


def start_rest_server(models: ServedModels, *, host: str, port: int) -> ThreadingHTTPServer:
    """Return a server that listens on `host:port` (0: any free one); the caller runs `serve_forever` and `shutdown`.

    Raises:
      OSError: if the port is taken.
    """

    class Handler(_Handler):
        served = models

    return _Server((host, port), Handler)


def answer(models: ServedModels, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
    """Return the HTTP code and the JSON object that answer one request."""
    try:
        return 200, _route(models, method, path, body)
    except ServingError as error:
        return HTTP_CODES[error.status], {"error": str(error)}
    except Exception as error:
        logger.exception("%s %s failed", method, path)
        return 500, {"error": f"{type(error).__name__}: {error}"}


def predict(models: ServedModels, spec: model_pb2.ModelSpec, body: bytes) -> dict[str, Any]:
    """Answer one predict body, in rows or columns as it came."""
    document = parse_object(body)
    signature_name = document.get("signature_name", "")
    if not isinstance(signature_name, str):
        message = "not formatted correctly. 'signature_name' key must be a string value."
        raise ServingError(f"JSON Value: {json.dumps(document)} {message}", status="INVALID_ARGUMENT")
    model = models.find(spec)
    name = signature_name or DEFAULT_SIGNATURE
    if name not in model.functions:
        raise ServingError(f'Serving signature name: "{name}" not found in signature def', status="INVALID_ARGUMENT")
    request = predict_pb2.PredictRequest(model_spec=spec)
    request.model_spec.signature_name = name
    read_inputs(document, model.signatures[name].inputs, request.inputs)
    return encode_outputs(models.predict(request).outputs, in_rows="instances" in document)


def _route(models: ServedModels, method: str, path: str, body: bytes) -> dict[str, Any]:
    path = path.partition("?")[0]
    if method == "POST" and (match := _POST_PATH.fullmatch(path)):
        spec = _model_spec(*match.group(1, 2, 3))
        if match[4].lower() != "predict":
            raise ServingError(f"This server answers :predict only. Received: :{match[4]}", status="UNIMPLEMENTED")
        return predict(models, spec, body)
    if method == "GET" and (match := _GET_PATH.fullmatch(path)):
        spec = _model_spec(*match.group(1, 2, 3))
        return _metadata(models, spec) if match[4] else _status(models, spec)
    if method == "GET" and path.lower() == "/v1/models":
        raise ServingError("Missing model name in request.", status="INVALID_ARGUMENT")
    raise ServingError(f"Malformed request: {method} {path}", status="INVALID_ARGUMENT")


def _model_spec(name: str, version: str | None, label: str | None) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=urllib.parse.unquote(name))
    if version is not None:
        if int(version) >= 2**63:
            raise ServingError(f"Failed to convert version: {version} to numeric.", status="INVALID_ARGUMENT")
        spec.version.value = int(version)
    if label is not None:
        spec.version_label = urllib.parse.unquote(label)
    return spec


def _status(models: ServedModels, spec: model_pb2.ModelSpec) -> dict[str, Any]:
    return _to_json(models.status(get_model_status_pb2.GetModelStatusRequest(model_spec=spec)))


def _metadata(models: ServedModels, spec: model_pb2.ModelSpec) -> dict[str, Any]:
    request = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=["signature_def"])
    response = models.metadata(request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    return {"model_spec": _to_json(response.model_spec), "metadata": {"signature_def": _to_json(signatures)}}


def _to_json(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # the default of 5 turns callers away under load

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.debug("Connection of %s broke", client_address)


class _Handler(BaseHTTPRequestHandler):
    """One HTTP connection; `served` is set by `start_rest_server`."""

    served: ServedModels
    protocol_version = "HTTP/1.1"
    timeout = 60.0  # seconds that an idle connection is kept
    wbufsize = -1  # headers and body leave in one packet ...
    disable_nagle_algorithm = True  # ... and at once: otherwise a kept connection waits 40 ms for an acknowledgement

    def do_POST(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(format, *args)

    def _answer(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # where this body ends is unknown, so nothing can follow it
            self._send(400, {"error": "A request must state its Content-Length."})
            return
        self._send(*answer(self.served, self.command, self.path, self.rfile.read(int(length))))

    def _send(self, code: int, content: dict[str, Any]) -> None:
        body = json.dumps(content, ensure_ascii=False).encode(errors="replace")
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
