"""Ask a server the questions that TF Serving's recorded answers belong to, and compare the two.

The records and the module that makes the requests lie beside the project (`shared_data`). What cannot be equal is in
EXCEPTIONS and LOOSE below, with the reason.
"""

import ast
import http.client
import importlib.util
import json
import math
import re
from collections import Counter

import grpc
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

# Scores are float32 sums over some hundred operations, and the records come from another machine: kernels that a CPU's
# own vector width chooses add in another order (1.5e-6 was seen between two CPUs with the same wheels).
TOLERANCE = 1e-5

# Row -> why it is not compared as it stands. Each is still compared in code and, where it says so, in part.
EXCEPTIONS = {
    "cols_empty": "of two missing inputs, C++ names the first of a map whose order changes from run to run",
    "predict_HEAD": "the answer to HEAD also says how long the body is, which HTTP allows",
    "head_status": "the answer to HEAD also says how long the body is, which HTTP allows",
    "meta_ok": "the record of the signatures is cut, in the order of a C++ map; the REST rows are compared by line",
    "meta_twice": "as meta_ok",
    "meta_v1": "as meta_ok over gRPC; over REST the lines of the cut record are looked for",
    "meta": "the record is cut, in the order of a C++ map: its lines are looked for",
}
# A message of a graph's node (`{{node`) is compared by its code, and by being one: several operations refuse the same shapes, and
# which of them runs first changes from run to run.
# What is left out of every comparison:
# - the order of names in an object, which is that of a C++ map;
# - the numbers in names of graph functions, which differ from export to export;
# - the value where the record has minus infinity, which an export may fill with a finite number;
# - the Date header.
_NODE = "{{node"  # in the messages of a graph
_GRAPH_NUMBER = re.compile(r"(function_node \w*?)_\d+")
_NUMBER = re.compile(r"-?\d+\.?\d*(?:e[+-]?\d+)?|-Infinity")


def load_cases(directory):
    """Return the module that makes the requests."""
    spec = importlib.util.spec_from_file_location("recorded_cases", directory / "cases.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_answers(path):
    """Return name -> recorded answer."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {row["name"]: row["answer"] for row in rows}


# === gRPC ===


class GrpcCaller:
    """Sends a case of `grpc_cases` and returns its code, message and content in the form of the record."""

    def __init__(self, port):
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        channel = grpc.insecure_channel(f"127.0.0.1:{port}", unlimited)
        prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        status = model_service_pb2_grpc.ModelServiceStub(channel)
        self._calls = {
            "P": (prediction.Predict, _plain_prediction),
            "M": (prediction.GetModelMetadata, _plain_metadata),
            "S": (status.GetModelStatus, _plain_status),
            "C": (prediction.Classify, str),
            "R": (prediction.Regress, str),
            "I": (prediction.MultiInference, str),
        }

    def ask(self, case):
        _, kind, request, _ = case
        call, plain = self._calls[kind]
        try:
            return ["OK", "", plain(call(request, timeout=120))]
        except grpc.RpcError as error:
            return [error.code().name, error.details(), None]


def _plain_prediction(response):
    spec = response.model_spec
    tensors = response.outputs.items()
    return {
        "spec": [spec.name, spec.version.value, spec.signature_name, spec.version_label],
        "out": {name: tf.make_ndarray(tensor).tolist() for name, tensor in tensors},
        "fields": {
            name: [tensor.dtype, [dim.size for dim in tensor.tensor_shape.dim], bool(tensor.tensor_content)]
            for name, tensor in tensors
        },
    }


def _plain_metadata(response):
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    return {"spec": str(response.model_spec), "keys": list(response.metadata), "sig": sorted(signatures.signature_def)}


def _plain_status(response):
    return json_format.MessageToDict(
        response, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def grpc_difference(name, answer, recorded, *, values=True):
    """Return what differs, or None; without `values` only codes, messages, shapes and names are compared."""
    code, message, text = recorded
    if _NODE in message:
        return None if answer[0] == code and _NODE in answer[1] else f"{answer[:2]} for {recorded[:2]}"
    if answer[:2] != [code, message] and [answer[0], _without_numbers(answer[1])] != [code, _without_numbers(message)]:
        return f"{answer[:2]} for {recorded[:2]}"
    if code != "OK" or name in EXCEPTIONS:
        return None
    content = ast.literal_eval(re.sub(r"(?<![\w'\"])-?inf\b", lambda match: match[0].replace("inf", "1e999"), text))
    own = {key: answer[2].get(key) for key in content}
    if not values:
        content, own = _shapes(content), _shapes(own)
    return None if _same(own, content) else f"{own} for {content}"


def _shapes(content):
    if isinstance(content, dict):
        return {key: _shapes(value) for key, value in content.items()}
    return [_shapes(item) for item in content] if isinstance(content, list) else type(content).__name__


def _same(value, recorded):
    if isinstance(recorded, dict):
        return (
            isinstance(value, dict)
            and value.keys() == recorded.keys()
            and all(_same(value[key], recorded[key]) for key in recorded)
        )
    if isinstance(recorded, list):
        return isinstance(value, list) and len(value) == len(recorded) and all(map(_same, value, recorded))
    if isinstance(recorded, float):
        is_near = isinstance(value, float) and math.isclose(value, recorded, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        return is_near or recorded == -math.inf
    return value == recorded


def _without_numbers(message):
    return _GRAPH_NUMBER.sub(r"\1", message)


# === REST ===


def ask_rest_case(port, case):
    """Send a case of `rest_cases`; return code, reason, headers and body as the record has them."""
    _, method, path, body, headers = case
    headers = dict(headers or {})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.putrequest(method, path, skip_accept_encoding=True)
    if "Content-Length" not in headers and (body is not None or method in ("POST", "PUT", "PATCH")):
        headers["Content-Length"] = str(len(body or b""))
    for name, value in headers.items():
        if value is not None:
            connection.putheader(name, value)
    connection.endheaders(body)
    response = connection.getresponse()
    content = response.read().decode("latin-1")
    connection.close()
    return [response.status, response.reason, {name.title(): value for name, value in response.getheaders()}, content]


def rest_difference(name, answer, recorded):
    """Return what differs, or None."""
    status, reason, headers, body = recorded
    if answer[:2] != [status, reason]:
        return f"{answer[:2]} for {recorded[:2]}: {answer[3][:300]}"
    for header in ("Content-Type", "Connection"):
        if answer[2].get(header) != headers.get(header):
            return f"{header}: {answer[2].get(header)} for {headers.get(header)}"
    if _NODE in body:
        return None if _NODE in answer[3] else f"{answer[3][:300]} for {body[:300]}"
    if name in ("meta", "meta_v1"):
        missing = Counter(map(_bare, body.splitlines()[:-1])) - Counter(map(_bare, answer[3].splitlines()))
        length = int(answer[2]["Content-Length"]) - _bytes_of_signature(answer[3], "tasks")  # which came later
        return f"missing {missing}, {length} bytes" if missing or length != int(headers["Content-Length"]) else None
    if name in EXCEPTIONS:
        return None
    length, own, text = int(answer[2]["Content-Length"]), answer[3], body
    if int(headers["Content-Length"]) > len(body.encode()):  # the record is cut
        own = own[: len(body)]
    if "-Infinity" not in body and _NUMBER.search(body) is None and length != int(headers["Content-Length"]):
        return f"{length} bytes for {headers['Content-Length']}"
    if _layout(own) != _layout(text):
        return f"{own[:600]} for {text[:600]}"
    if text.startswith("{") and headers["Content-Length"] == str(len(body)):
        own, text = (json.loads(content) for content in (own, text))
        return None if "error" in text or _same(own, text) else f"{own} for {text}"
    return None


def _bytes_of_signature(body, name):
    """Return how many bytes a signature takes in a body of metadata: its lines, and the comma that parts it from another."""
    lines = body.splitlines()
    start = next(k for k, line in enumerate(lines) if line.strip() == f'"{name}": {{')
    indent = lines[start][: -len(lines[start].lstrip())]
    end = next(k for k in range(start, len(lines)) if lines[k].rstrip(",") == f"{indent}}}")
    return len("\n".join(lines[start : end + 1]).rstrip(",")) + len(",\n")


def _bare(line):
    return line.strip().rstrip(",")


def _layout(body):
    """Return the lines of a body in any order, without commas at their ends, and numbers of a few digits without them."""
    lines = [_without_numbers(line).rstrip(",") for line in body.split("\n")]
    is_answer = '"error"' not in body
    return sorted(_NUMBER.sub("#", line) if is_answer else line for line in lines)
