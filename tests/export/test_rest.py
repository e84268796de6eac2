"""The REST form over HTTP, on a small SavedModel whose answers are known by hand."""

import functools
import http.client
import json
import time

import numpy as np
import pytest
import tensorflow as tf

from softprompt_tf.export.server.http_server import RestServer
from softprompt_tf.export.server.model_config import ModelSettings
from softprompt_tf.export.server.rest import answer
from softprompt_tf.export.server.served_models import ServedModels

MAX_BODY_BYTES = 20_000
COLUMN = tf.TensorSpec([None], tf.string)


class Echo(tf.Module):
    """output = "task:text"; score = length of the text + 100, or the sum of the prompt."""

    @tf.function(input_signature=[COLUMN, COLUMN])
    def generate(self, task_id, text):
        status = tf.where(task_id == "nope", "unknown task", "")
        score = tf.cast(tf.strings.length(text), tf.float32) + 100.0
        return {"output": task_id + ":" + text, "score": score, "status": status}

    @tf.function(input_signature=[tf.TensorSpec([None, None, 2], tf.float32), COLUMN])
    def generate_with_prompt(self, prompt, text):
        return {"output": text, "score": tf.reduce_sum(prompt, axis=[1, 2])}

    @tf.function(input_signature=[COLUMN])
    def log_probabilities(self, text):
        return {"log_probabilities": tf.repeat([[-0.25, -np.inf]], tf.size(text), axis=0)}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.int64)])
    def one(self, ids):
        return {"raw_bytes": tf.strings.as_string(ids)}

    @tf.function(input_signature=[COLUMN])
    def count(self, text):
        return {"rows": tf.size(text), "text": text}


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    base = tmp_path_factory.mktemp("served") / "echo"
    module = Echo()
    names = ("generate_with_prompt", "log_probabilities", "one", "count")
    signatures = {name: getattr(module, name) for name in names}
    tf.saved_model.save(module, str(base / "1"), {"serving_default": module.generate, **signatures})
    models = ServedModels(allow_unavailable_labels=True)
    models.configure([ModelSettings("echo", base, labels={"stable": 1, "gone": 4})])
    server = RestServer(functools.partial(answer, models), host="127.0.0.1", port=0, max_body_bytes=MAX_BODY_BYTES)
    server.start()
    yield server.port
    server.close()


def rest(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, body if body is None or isinstance(body, str | bytes) else json.dumps(body))
    response = connection.getresponse()
    content = json.loads(response.read())
    connection.close()
    return response.status, content


PREDICT = "/v1/models/echo:predict"
ROW = {"task_id": "x", "text": "ab"}
FAILED = "Failed to process element: {} key: text of 'instances' list. Error: INVALID_ARGUMENT: "
ANSWERS = {
    "rows": (
        PREDICT,
        {"instances": [ROW, {"task_id": "y", "text": "\u00e9"}]},
        {
            "predictions": [
                {"output": "x:ab", "score": 102.0, "status": ""},
                {"output": "y:\u00e9", "score": 102.0, "status": ""},
            ]
        },
    ),
    "columns": (
        PREDICT,
        {"inputs": {"task_id": ["x", "nope"], "text": ["ab", "c"], "ignored": 1}},
        {"outputs": {"output": ["x:ab", "nope:c"], "score": [102.0, 101.0], "status": ["", "unknown task"]}},
    ),
    "version in the path": (
        "/V1/models/echo/versions/1:predict",
        {"inputs": {"task_id": ["x"], "text": [{"b64": "YQ=="}]}},
        {"outputs": {"output": ["x:a"], "score": [101.0], "status": [""]}},
    ),
    "label in the path": (
        "/v1/models/echo/labels/stable:predict",
        {"inputs": {"task_id": ["x"], "text": ["a"]}},
        {"outputs": {"output": ["x:a"], "score": [101.0], "status": [""]}},
    ),
    "one input and output, in rows": (
        PREDICT,
        {"signature_name": "one", "instances": [[1, 2], [3, 4]]},
        {"predictions": [[{"b64": "MQ=="}, {"b64": "Mg=="}], [{"b64": "Mw=="}, {"b64": "NA=="}]]},
    ),
    "one input and output, in columns": (
        PREDICT,
        {"signature_name": "one", "inputs": [[1, 2]]},
        {"outputs": [[{"b64": "MQ=="}, {"b64": "Mg=="}]]},
    ),
    "numbers": (
        PREDICT,
        {"signature_name": "generate_with_prompt", "instances": [{"prompt": [[0.1, 0], [0, 0.0]], "text": "a"}]},
        {"predictions": [{"output": "a", "score": 0.1}]},
    ),
}
REST_REFUSALS = {
    "bad path": ("POST", "/v1/models/echo:train", {}, 400, "Malformed request: POST /v1/models/echo:train"),
    "no model name": ("GET", "/v1/models", None, 400, "Missing model name in request."),
    "empty body": ("POST", PREDICT, "", 400, "JSON Parse error: The document is empty"),
    "no object": ("POST", PREDICT, [1], 400, "JSON Value: [1] Is not object"),
    "neither form": ("POST", PREDICT, {"x": 1}, 400, "Missing 'inputs' or 'instances' key"),
    "unknown model": (
        "POST",
        "/v1/models/m:predict",
        {"instances": [ROW]},
        404,
        "Servable not found for request: Latest(m)",
    ),
    "unknown version": (
        "POST",
        "/v1/models/echo/versions/7:predict",
        {"instances": [ROW]},
        404,
        "Servable not found for request: Specific(echo, 7)",
    ),
    "unknown label": (
        "POST",
        "/v1/models/echo/labels/canary:predict",
        {"instances": [ROW]},
        400,
        "Unrecognized servable version label: canary",
    ),
    "label of a version that is not loaded": (
        "POST",
        "/v1/models/echo/labels/gone:predict",
        {"instances": [ROW]},
        404,
        "Servable not found for request: Specific(echo, 4)",
    ),
    "unknown signature": (
        "POST",
        PREDICT,
        {"signature_name": "x", "instances": [ROW]},
        400,
        'Serving signature name: "x" not found in signature def',
    ),
    "classify": ("POST", "/v1/models/echo:classify", {"examples": [{"x": 1}]}, 400, "Expected one input Tensor."),
    "classify without examples": (
        "POST",
        "/v1/models/echo:classify",
        {},
        400,
        "JSON Value: {} When method is classify, key 'examples' is expected and was not found",
    ),
    "missing column": (
        "POST",
        PREDICT,
        {"inputs": {"text": ["a"]}},
        400,
        "Missing named input: task_id in 'inputs' object.",
    ),
    "plain list of rows": (
        "POST",
        PREDICT,
        {"instances": ["a"]},
        400,
        (
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per"
            " tensorinfo_map"
        ),
    ),
    "row with missing key": (
        "POST",
        PREDICT,
        {"instances": [ROW, {"text": "a"}]},
        400,
        (
            'Failed to process element: 1 of \'instances\' list. JSON object: {\n    "text": "a"\n} keys must be equal to:'
            " task_id,text"
        ),
    ),
    "row with extra key": (
        "POST",
        PREDICT,
        {"instances": [{"z": 1}]},
        400,
        (
            "Failed to process element: 0 key: z of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does not have"
            " named input: z"
        ),
    ),
    "number for a string": (
        "POST",
        PREDICT,
        {"instances": [{"task_id": "x", "text": 5}]},
        400,
        FAILED.format(0) + "JSON Value: 5 Type: Number is not of expected type: string",
    ),
    "number for a string, in columns": (
        "POST",
        PREDICT,
        {"inputs": {"task_id": ["x"], "text": [5]}},
        400,
        "JSON Value: 5 Type: Number is not of expected type: string",
    ),
    "float for an integer": (
        "POST",
        PREDICT,
        {"signature_name": "one", "inputs": [[1, 2.5]]},
        400,
        "JSON Value: 2.5 Type: Number is not of expected type: int64",
    ),
    "too large for a float": (
        "POST",
        PREDICT,
        {"signature_name": "generate_with_prompt", "inputs": {"prompt": [[[1e39, 1]]], "text": ["a"]}},
        400,
        "Cannot convert JSON value: 1e+39 to float without loss of precision.",
    ),
    "plain row of another type": (
        "POST",
        PREDICT,
        {"signature_name": "one", "instances": [[1, 2], [3, "a"]]},
        400,
        (
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT:"
            ' JSON Value: "a" Type: String is not of expected type: int64'
        ),
    ),
    "rows of different shapes": (
        "POST",
        PREDICT,
        {"instances": [ROW, {"task_id": "x", "text": ["a"]}]},
        400,
        FAILED.format(1) + "Expecting shape [] but got: [1]",
    ),
    "ragged list": (
        "POST",
        PREDICT,
        {"signature_name": "one", "inputs": [[1, 2], [3]]},
        400,
        "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
    ),
    "bad base64": (
        "POST",
        PREDICT,
        {"inputs": {"task_id": ["x"], "text": [{"b64": "?"}]}},
        400,
        "Unable to base64 decode",
    ),
    "output without rows": (
        "POST",
        PREDICT,
        {"signature_name": "count", "instances": ["a"]},
        400,
        "Tensor name: rows has no shape information ",
    ),
    "status of an unknown model": ("GET", "/v1/models/m", None, 404, "Could not find any versions of model m"),
    "status of an unknown version": (
        "GET",
        "/v1/models/echo/versions/3",
        None,
        404,
        "Could not find version 3 of model echo",
    ),
}


@pytest.mark.parametrize(("path", "body", "expected"), ANSWERS.values(), ids=ANSWERS)
def test_rest_answers_in_the_form_of_the_question(port, path, body, expected):
    assert rest(port, "POST", path, body) == (200, expected)


@pytest.mark.parametrize(("method", "path", "body", "code", "message"), REST_REFUSALS.values(), ids=REST_REFUSALS)
def test_rest_refusals_have_the_codes_and_texts_of_tf_serving(port, method, path, body, code, message):
    assert rest(port, method, path, body) == (code, {"error": message})


def test_rest_refuses_both_forms_at_once_and_broken_json(port):
    code, content = rest(port, "POST", PREDICT, {"instances": [ROW], "inputs": {}})
    assert (code, "expecting only one of 'inputs' or 'instances'" in content["error"]) == (400, True)

    code, content = rest(port, "POST", PREDICT, b'{"instances": \xff')
    assert (code, content["error"].startswith("JSON Parse error: ")) == (400, True)


def test_rest_keeps_the_infinities_of_padding_labels(port):
    code, content = rest(port, "POST", PREDICT, {"signature_name": "log_probabilities", "instances": ["a", "b"]})

    assert code == 200
    assert content["predictions"] == [[-0.25, -np.inf]] * 2


def test_rest_status_is_the_json_of_the_message(port):
    expected = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}

    assert rest(port, "GET", "/v1/models/echo") == (200, {"model_version_status": [expected]})
    assert rest(port, "GET", "/v1/models/echo/versions/1") == (200, {"model_version_status": [expected]})


def test_rest_metadata_holds_inputs_and_outputs(port):
    code, content = rest(port, "GET", "/v1/models/echo/metadata")

    signatures = content["metadata"]["signature_def"]["signature_def"]
    assert code == 200
    assert content["model_spec"]["version"] == "1"
    assert signatures["serving_default"]["inputs"]["text"]["dtype"] == "DT_STRING"
    assert sorted(signatures["serving_default"]["outputs"]) == ["output", "score", "status"]


def test_rest_connection_answers_again_and_fast(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    times = []
    for _ in range(10):
        start_s = time.perf_counter()
        connection.request("GET", "/v1/models/echo")
        assert connection.getresponse().read()
        times.append(time.perf_counter() - start_s)
    connection.close()

    assert sorted(times)[5] < 0.03  # a delayed acknowledgement alone would take 0.04 s
