"""Answer a REST request with a code and a body, as TF Serving does.

POST /v1/models/M[/versions/N|/labels/L]:predict takes rows (`instances`) or columns (`inputs`); GET
/v1/models/M[/versions/N] tells the state of the versions, GET .../metadata the signatures. The requests become the same
messages as over gRPC.

Source: tensorflow/serving model_servers/http_rest_api_handler.cc and http_rest_api_util.cc (order of checks, layout of
bodies), model_servers/http_server.cc (codes).
"""

import logging

from google.protobuf import json_format
from google.protobuf.message import Message
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2, predict_pb2

from softprompt_tf.errors import ServingError
from softprompt_tf.export.server.json_writer import error_body
from softprompt_tf.export.server.predict_contract import DEFAULT_SIGNATURE
from softprompt_tf.export.server.rest_inputs import check_examples, parse_object, read_inputs, read_signature_name
from softprompt_tf.export.server.rest_outputs import encode_outputs
from softprompt_tf.export.server.rest_paths import Question, read_question
from softprompt_tf.export.server.served_models import ServedModels

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

logger = logging.getLogger(__name__)


def answer(models: ServedModels, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    """Return the HTTP code and the body that answer one request.

    Args:
      models: what is served.
      method: of the request.
      path: its target as `split_target` returns it.
      body: its content, unpacked.
    """
    try:
        question = read_question(method, path)
        return (HTTP_CODES["INVALID_ARGUMENT"], b"") if question is None else (200, _answer(models, question, body))
    except ServingError as error:
        return HTTP_CODES[error.status], error_body(str(error))
    except Exception as error:
        logger.exception("%s %s failed", method, path)
        return HTTP_CODES["INTERNAL"], error_body(f"{type(error).__name__}: {error}")


def _answer(models: ServedModels, question: Question, body: bytes) -> bytes:
    match question.what:
        case "predict":
            return _predict(models, question.spec, body)
        case "status":
            return _status(models, question.spec)
        case "metadata":
            return _metadata(models, question.spec)
        case method:
            document = parse_object(body)
            question.spec.signature_name = read_signature_name(document)
            check_examples(document)
            raise models.refuse_examples(question.spec, method)


def _predict(models: ServedModels, spec: model_pb2.ModelSpec, body: bytes) -> bytes:
    document = parse_object(body)
    name = read_signature_name(document)
    model = models.find(spec)
    signature = model.signatures.get(name or DEFAULT_SIGNATURE)
    if signature is None:
        message = f'Serving signature name: "{name or DEFAULT_SIGNATURE}" not found in signature def'
        raise ServingError(message, status="INVALID_ARGUMENT")
    if not signature.inputs:
        message = f"Failed to get input map for signature: {name or 'DEFAULT'}"
        raise ServingError(message, status="INVALID_ARGUMENT")
    request = predict_pb2.PredictRequest(model_spec=spec)
    request.model_spec.signature_name = name
    read_inputs(document, signature.inputs, request.inputs)
    return encode_outputs(models.predict(request).outputs, in_rows=bool(document.find(b"instances")))


def _status(models: ServedModels, spec: model_pb2.ModelSpec) -> bytes:
    return _to_json(models.status(get_model_status_pb2.GetModelStatusRequest(model_spec=spec))).encode()


def _metadata(models: ServedModels, spec: model_pb2.ModelSpec) -> bytes:
    request = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=["signature_def"])
    response = models.metadata(request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    parts = f'"model_spec":{_to_json(response.model_spec)},\n"metadata": {{"signature_def": {_to_json(signatures)}}}\n'
    return f"{{\n{parts}}}\n".encode()


def _to_json(message: Message) -> str:
    text: str = json_format.MessageToJson(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, indent=1
    )
    return f"{text}\n"
