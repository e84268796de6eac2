"""One table of what TF Serving does, each rule with its source, asked of the local server and of TF Serving itself.

Sources are paths under tensorflow/serving:tensorflow_serving/, "tf:" ones under tensorflow/tensorflow:tensorflow/. A refusal
is compared by its code and a part of its text; None stands for a text of TensorFlow's own that may change.
"""

import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from asked_server import (
    TF_SERVING,
    local_server,
    local_start_error,
    tf_serving,
    tf_serving_start_error,
)
from echo_model import export_echo, export_rows
from version_changes import (
    AVAILABLE,
    END,
    GOOD,
    empty_the_base_path,
    fill_the_queue,
    go_back,
    half_a_version,
    hand_over,
    ids,
    reload_labels,
    reload_without_the_model,
    rows,
)

from softprompt_tf.export.server.serving_options import ServingOptions

PREDICT = "/v1/models/echo:predict"


@dataclass(frozen=True)
class Rule:
    """A fact, where it is written down, and what shows it: asking the server of that kind gives `expected`."""

    fact: str
    source: str
    ask: Any
    expected: Any
    server: str = "plain"


CODES = "model_servers/prediction_service_impl.cc"
PREDICT_UTIL = "servables/tensorflow/predict_util.cc"
SPEC = "model_servers/server_core.cc"
STATUS = "model_servers/get_model_status_impl.cc"
JSON = "util/json_tensor.cc"
BATCHING = "batching/batching_session.cc"
SCHEDULER = "tf:core/kernels/batching_util/shared_batch_scheduler.h"
STORAGE = "sources/storage_path/file_system_storage_path_source.cc"
METADATA = "servables/tensorflow/get_model_metadata_impl.cc"
REST, REST_CODES = "model_servers/http_rest_api_handler.cc", "model_servers/http_server.cc"
REST_PATHS = "model_servers/http_rest_api_util.cc"
POLICY = "core/availability_preserving_policy.cc"
ALL_OUTPUTS = {"output": [b"x:a"], "score": [201.0], "status": [b""]}
EQUAL_ROWS = "Batching Run() input tensors must have equal 0th-dimension size"
RULES = [
    # --- gRPC: which model
    Rule("the highest loaded version answers", SPEC, lambda s: s.predict(GOOD), ("OK", ALL_OUTPUTS)),
    Rule(
        "a response names model, signature and version",
        PREDICT_UTIL,
        lambda s: s.spec(GOOD, version=1),
        ("OK", ("echo", "serving_default", 1)),
    ),
    Rule(
        "unknown model",
        "core/basic_manager.cc",
        lambda s: s.predict(GOOD, name="m"),
        ("NOT_FOUND", "Servable not found for request: Latest(m)"),
    ),
    Rule(
        "unknown version",
        "core/manager.h",
        lambda s: s.predict(GOOD, version=7),
        ("NOT_FOUND", "Servable not found for request: Specific(echo, 7)"),
    ),
    Rule(
        "empty model name",
        SPEC,
        lambda s: s.predict(GOOD, name=""),
        ("INVALID_ARGUMENT", "ModelSpec has no name specified."),
    ),
    Rule(
        "a label stands for a version",
        SPEC,
        lambda s: s.spec(GOOD, label="stable"),
        ("OK", ("echo", "serving_default", 1)),
    ),
    Rule(
        "unknown label",
        SPEC,
        lambda s: s.predict(GOOD, label="x"),
        ("INVALID_ARGUMENT", "Unrecognized servable version label: x"),
    ),
    Rule(
        "label of a version that is not loaded",
        SPEC,
        lambda s: s.predict(GOOD, label="gone"),
        ("NOT_FOUND", "Servable not found for request: Specific(echo, 9)"),
    ),
    Rule("policy latest", STORAGE, lambda s: s.status("newest"), ("OK", [(2, AVAILABLE)])),
    Rule("policy all", STORAGE, lambda s: s.status("every"), ("OK", [(2, AVAILABLE), (1, AVAILABLE)])),
    Rule("policy specific", STORAGE, lambda s: s.status("chosen"), ("OK", [(1, AVAILABLE)])),
    # --- gRPC: the request
    Rule(
        "unknown signature",
        PREDICT_UTIL,
        lambda s: s.predict(GOOD, signature="x"),
        ("FAILED_PRECONDITION", 'Serving signature key "x" not found.'),
    ),
    Rule(
        "missing input",
        PREDICT_UTIL,
        lambda s: s.predict({"text": ["a"]}),
        (
            "INVALID_ARGUMENT",
            "input size does not match signature: 1!=2 len({text}) != len({task_id,text}). Sent extra: {}."
            " Missing but required: {task_id}.",
        ),
    ),
    Rule(
        "extra input",
        PREDICT_UTIL,
        lambda s: s.predict({**GOOD, "z": ["a"]}),
        (
            "INVALID_ARGUMENT",
            "input size does not match signature: 3!=2 len({task_id,text,z}) != len({task_id,text}). Sent extra: {z}."
            " Missing but required: {}.",
        ),
    ),
    Rule(
        "wrong input name",
        "tf:cc/saved_model/util.cc",
        lambda s: s.predict({"task_id": ["x"], "z": ["a"]}),
        ("INVALID_ARGUMENT", None),
    ),
    Rule("output_filter", PREDICT_UTIL, lambda s: s.predict(GOOD, output_filter=["score"]), ("OK", {"score": [201.0]})),
    Rule(
        "unknown output",
        PREDICT_UTIL,
        lambda s: s.predict(GOOD, output_filter=["z"]),
        (
            "INVALID_ARGUMENT",
            "output tensor alias not found in signature: z Outputs expected to be in the set {output,score,status}.",
        ),
    ),
    Rule(
        "duplicate output",
        PREDICT_UTIL,
        lambda s: s.predict(GOOD, output_filter=["score", "score"]),
        ("INVALID_ARGUMENT", "duplicate output tensor alias: score"),
    ),
    Rule(
        "wrong dtype",
        "tf:core/common_runtime/direct_session.cc",
        lambda s: s.predict({"task_id": ["x"], "text": [1]}),
        ("INVALID_ARGUMENT", None),
    ),
    Rule(
        "an error in the graph keeps its code",
        CODES,
        lambda s: s.predict({"text": ["crash"]}, name="rows"),
        ("INVALID_ARGUMENT", "the graph refuses this text"),
    ),
    # --- gRPC: metadata and status
    Rule(
        "metadata",
        METADATA,
        lambda s: s.metadata("echo", "signature_def"),
        ("OK", (2, ["task_id", "text"], ["output", "score", "status"], "tensorflow/serving/predict")),
    ),
    Rule(
        "metadata without a field",
        METADATA,
        lambda s: s.metadata("echo"),
        ("INVALID_ARGUMENT", "GetModelMetadataRequest must specify at least one metadata_field"),
    ),
    Rule(
        "metadata of another field",
        METADATA,
        lambda s: s.metadata("echo", "x"),
        ("INVALID_ARGUMENT", "Metadata field x is not supported"),
    ),
    Rule(
        "metadata without a model",
        METADATA,
        lambda s: s.metadata(None, "signature_def"),
        ("INVALID_ARGUMENT", "Missing ModelSpec"),
    ),
    Rule("status of one version", STATUS, lambda s: s.status("echo", 1), ("OK", [(1, AVAILABLE)])),
    Rule(
        "status of an unknown model",
        STATUS,
        lambda s: s.status("m"),
        ("NOT_FOUND", "Could not find any versions of model m"),
    ),
    Rule(
        "status of an unknown version",
        STATUS,
        lambda s: s.status("echo", 7),
        ("NOT_FOUND", "Could not find version 7 of model echo"),
    ),
    Rule("status without a model", STATUS, lambda s: s.status(None), ("INVALID_ARGUMENT", "Missing ModelSpec")),
    # --- REST
    Rule(
        "REST rows",
        JSON,
        lambda s: s.rest("POST", PREDICT, {"instances": [{"task_id": "x", "text": "a"}]}),
        (200, {"predictions": [{"output": "x:a", "score": 201.0, "status": ""}]}),
    ),
    Rule(
        "REST columns",
        JSON,
        lambda s: s.rest("POST", PREDICT, {"inputs": {"task_id": ["x"], "text": ["a"]}}),
        (200, {"outputs": {"output": ["x:a"], "score": [201.0], "status": [""]}}),
    ),
    Rule(
        "REST base64",
        JSON,
        lambda s: s.rest("POST", PREDICT, {"inputs": {"task_id": ["x"], "text": [{"b64": "YQ=="}]}}),
        (200, {"outputs": {"output": ["x:a"], "score": [201.0], "status": [""]}}),
    ),
    Rule(
        "REST version",
        REST_PATHS,
        lambda s: s.rest(
            "POST",
            "/V1/models/echo/versions/1:predict",
            {"signature_name": "score", "instances": [{"task_id": "x", "text": "a", "target": "bc"}]},
        )[0],
        200,
    ),
    Rule(
        "REST label",
        REST_PATHS,
        lambda s: s.rest(
            "POST", "/v1/models/echo/labels/stable:predict", {"instances": [{"task_id": "x", "text": "a"}]}
        )[1]["predictions"][0]["score"],
        101.0,
    ),
    Rule(
        "REST unknown label",
        REST_CODES,
        lambda s: s.rest("POST", "/v1/models/echo/labels/x:predict", {"instances": [{"task_id": "x", "text": "a"}]}),
        (400, "Unrecognized servable version label: x"),
    ),
    Rule(
        "REST unknown model",
        REST_CODES,
        lambda s: s.rest("POST", "/v1/models/m:predict", {"instances": ["a"]}),
        (404, "Servable not found for request: Latest(m)"),
    ),
    Rule(
        "REST unknown signature",
        REST,
        lambda s: s.rest("POST", PREDICT, {"signature_name": "x", "instances": ["a"]}),
        (400, 'Serving signature name: "x" not found in signature def'),
    ),
    Rule(
        "REST bad path",
        REST,
        lambda s: s.rest("POST", "/v1/models/echo:train", {}),
        (400, "Malformed request: POST /v1/models/echo:train"),
    ),
    Rule(
        "REST empty body", JSON, lambda s: s.rest("POST", PREDICT, ""), (400, "JSON Parse error: The document is empty")
    ),
    Rule(
        "REST neither form",
        JSON,
        lambda s: s.rest("POST", PREDICT, {"x": 1}),
        (400, "Missing 'inputs' or 'instances' key"),
    ),
    Rule(
        "REST missing column",
        JSON,
        lambda s: s.rest("POST", PREDICT, {"inputs": {"text": ["a"]}}),
        (400, "Missing named input: task_id in 'inputs' object."),
    ),
    Rule(
        "REST extra column is passed over",
        JSON,
        lambda s: s.rest("POST", PREDICT, {"inputs": {**GOOD, "z": 1}})[0],
        200,
    ),
    Rule(
        "REST extra key in a row",
        JSON,
        lambda s: s.rest("POST", PREDICT, {"instances": [{"task_id": "x", "text": "a", "z": 1}]})[0],
        400,
    ),
    Rule("REST plain rows need one input", JSON, lambda s: s.rest("POST", PREDICT, {"instances": ["a"]})[0], 400),
    Rule(
        "REST number for a string",
        JSON,
        lambda s: s.rest("POST", PREDICT, {"inputs": {"task_id": ["x"], "text": [5]}}),
        (400, "is not of expected type: string"),
    ),
    Rule(
        "REST status has versions as strings",
        STATUS,
        lambda s: s.rest("GET", "/v1/models/echo/versions/1"),
        (
            200,
            {
                "model_version_status": [
                    {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
                ]
            },
        ),
    ),
    Rule(
        "REST status of an unknown version",
        STATUS,
        lambda s: s.rest("GET", "/v1/models/echo/versions/7"),
        (404, "Could not find version 7 of model echo"),
    ),
    Rule(
        "REST metadata",
        REST_PATHS,
        lambda s: sorted(
            s.rest("GET", "/v1/models/echo/metadata")[1]["metadata"]["signature_def"]["signature_def"][
                "serving_default"
            ]["inputs"]
        ),
        ["task_id", "text"],
    ),
    # --- Batching: at most 4 rows, of 2 or 4, one batch may wait, for 1 s
    Rule(
        "two requests share a run",
        BATCHING,
        lambda s: s.together(rows("a", "b"), rows("c", "d")),
        [("OK", {"rows": [4, 4], "text": [b"a", b"b"]}), ("OK", {"rows": [4, 4], "text": [b"c", b"d"]})],
        "batching",
    ),
    Rule(
        "rows are rounded up and the padding dropped",
        BATCHING,
        lambda s: s.predict({"text": ["a", "b", "c"]}, name="rows"),
        ("OK", {"rows": [4, 4, 4], "text": [b"a", b"b", b"c"]}),
        "batching",
    ),
    Rule(
        "another output_filter is another queue",
        BATCHING,
        lambda s: s.together(rows("a", "b"), rows("c", "d", output_filter=["rows"])),
        [("OK", {"rows": [2, 2], "text": [b"a", b"b"]}), ("OK", {"rows": [2, 2]})],
        "batching",
    ),
    Rule(
        "another signature is another queue",
        BATCHING,
        lambda s: s.together(rows("a", "b"), ids([1], [2])),
        [("OK", {"rows": [2, 2], "text": [b"a", b"b"]}), ("OK", {"rows": [2, 2], "ids": [[1], [2]]})],
        "batching",
    ),
    Rule(
        "an error fails the whole run",
        BATCHING,
        lambda s: s.together(rows("a", "crash"), rows("c", "d")),
        [("INVALID_ARGUMENT", "the graph refuses this text")] * 2,
        "batching",
    ),
    Rule(
        "a wrong dtype fails the whole run",
        BATCHING,
        lambda s: s.together(({"text": [1, 2]}, {"name": "rows"}), rows("c", "d")),
        [("INTERNAL", "Cannot concatenate tensors that have different data types.")] * 2,
        "batching",
    ),
    Rule(
        "a wrong rank fails the whole run",
        BATCHING,
        lambda s: s.together(({"text": [["a"], ["b"]]}, {"name": "rows"}), rows("c", "d")),
        [
            (
                "FAILED_PRECONDITION",
                "Tensors with name 'serving_default_text:0' from different tasks have different shapes",
            )
        ]
        * 2,
        "batching",
    ),
    Rule(
        "a wrong dtype alone is the graph's to refuse",
        BATCHING,
        lambda s: s.predict({"text": [1, 2, 3, 4]}, name="rows"),
        ("INVALID_ARGUMENT", "Expects arg[0] to be string but int32 is provided"),
        "batching",
    ),
    Rule(
        "inputs of unequal rows",
        "batching/batching_util.h",
        lambda s: s.predict({"task_id": ["x", "y"], "text": ["a"]}),
        ("INVALID_ARGUMENT", EQUAL_ROWS),
        "batching",
    ),
    Rule(
        "a scalar input",
        "batching/batching_util.h",
        lambda s: s.predict({"text": "a", "other": "b"}, name="rows", signature="any_rank"),
        ("INVALID_ARGUMENT", "Batching Run() input tensors must have at least one dimension"),
        "batching",
    ),
    Rule(
        "a scalar output",
        BATCHING,
        lambda s: s.predict({"text": ["a"] * 4}, name="rows", signature="scalar"),
        ("FAILED_PRECONDITION", "Batched output tensor has 0 dimensions"),
        "batching",
    ),
    Rule(
        "an output of other rows",
        BATCHING,
        lambda s: s.predict({"text": ["a"] * 4}, name="rows", signature="one_row"),
        (
            "FAILED_PRECONDITION",
            "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input tensors",
        ),
        "batching",
    ),
    Rule(
        "shapes that differ",
        BATCHING,
        lambda s: s.together(ids([1], [2]), ids([1, 2], [3, 4])),
        [
            (
                "FAILED_PRECONDITION",
                "from different tasks have different shapes and padding is turned off.Set pad_variable_length_inputs to true",
            )
        ]
        * 2,
        "batching",
    ),
    Rule(
        "more rows than a batch",
        SCHEDULER,
        lambda s: s.predict({"text": ["a"] * 5}, name="rows"),
        ("INVALID_ARGUMENT", "Task size 5 is larger than maximum"),
        "batching",
    ),
    Rule(
        "a full queue",
        SCHEDULER,
        fill_the_queue,
        ("UNAVAILABLE", "The batch scheduling queue to which this task was submitted is full"),
        "batching",
    ),
    Rule(
        "padding repeats a tensor's first element",
        "batching/batching_util.cc",
        lambda s: s.together(ids([5]), ids([1, 2])),
        [("OK", {"rows": [2], "ids": [[5, 5]]}), ("OK", {"rows": [2], "ids": [[1, 2]]})],
        "padding",
    ),
    Rule(
        "a large request is split",
        SCHEDULER,
        lambda s: s.predict({"text": list("abcde")}, name="rows"),
        ("OK", {"rows": [2, 2, 2, 2, 1], "text": [b"a", b"b", b"c", b"d", b"e"]}),
        "splitting",
    ),
    # --- Versions that come and go
    Rule("a new version takes over without a failed request", POLICY, hand_over, {101.0, 201.0}, "moving"),
    Rule("removing a version goes back to the one before", POLICY, go_back, "OK", "moving"),
    Rule("removing all versions unloads the model", STORAGE, empty_the_base_path, ("OK", [(1, END)]), "moving"),
    Rule(
        "half a version leaves the old one",
        "util/retrier.cc",
        half_a_version,
        (101.0, ("OK", [(1, AVAILABLE)])),
        "moving",
    ),
    Rule(
        "a reload moves labels, to loaded versions only",
        SPEC,
        reload_labels,
        ("FAILED_PRECONDITION", "OK", ("OK", {"score": [201.0]})),
        "reloading",
    ),
    Rule(
        "a reload replaces all models",
        SPEC,
        reload_without_the_model,
        ("OK", "NOT_FOUND", ("OK", {"score": [201.0]})),
        "reloading",
    ),
]

MODEL = 'config {{ name: "{0}" base_path: "{1}" model_platform: "tensorflow" {2} }}'
LABELS = 'version_labels {{ key: "{}" value: {} }} '
SPECIFIC = "model_version_policy {{ specific {{ {} }} }} "
BATCHING_FILES = {
    "batching": "max_batch_size { value: 4 } allowed_batch_sizes: 2 allowed_batch_sizes: 4"
    " max_enqueued_batches { value: 1 } batch_timeout_micros { value: 1000000 }",
    "padding": "max_batch_size { value: 2 } batch_timeout_micros { value: 1000000 } pad_variable_length_inputs: true",
    "splitting": "max_batch_size { value: 8 } enable_large_batch_splitting { value: true }"
    " max_execution_batch_size { value: 2 }",
}
CHANGING = ("moving", "reloading")  # servers that a rule leaves different from how it found them

START_ERRORS = {
    "a model twice": (
        MODEL.format("m", "/m", "") * 2,
        {},
        "Illegal to list model m multiple times in config list",
    ),
    "a relative path": (
        MODEL.format("m", "models/m", ""),
        {},
        "Expected model m to have an absolute path or URI; got base_path()=models/m",
    ),
    "a label before its version is loaded": (
        MODEL.format("m", "{directory}/echo", LABELS.format("stable", 2)),
        {},
        "Request to assign label to version 2 of model m, which is not currently available for inference",
    ),
    "sizes that do not end in the largest": (
        MODEL.format("m", "{directory}/echo", ""),
        {"enable_batching": True, "batching": "max_batch_size { value: 4 } allowed_batch_sizes: 2"},
        "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 2; expected 4",
    ),
    "batching parameters without batching": (
        MODEL.format("m", "{directory}/echo", ""),
        {"batching": ""},
        "batching_parameters_file is set without setting",
    ),
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Directory with version 1 and 2 of Echo and version 1 of Rows."""
    directory = tmp_path_factory.mktemp("exported")
    for version in (1, 2):
        export_echo(directory / "echo" / str(version), version)
    export_rows(directory / "rows" / "1")
    return directory


def write_options(kind, exported, directory):
    """Write the config files of a kind of server and return its options."""
    models = [MODEL.format("rows", exported / "rows", "")]
    if kind == "moving":
        shutil.copytree(exported / "echo" / "1", directory / "moving" / "1")
        models = [MODEL.format("moving", directory / "moving", "")]
    elif kind == "plain":
        labels = LABELS.format("stable", 1) + LABELS.format("gone", 9)
        models += [
            MODEL.format("echo", exported / "echo", SPECIFIC.format("versions: 1 versions: 2") + labels),
            MODEL.format("newest", exported / "echo", ""),
            MODEL.format("every", exported / "echo", "model_version_policy { all {} }"),
            MODEL.format("chosen", exported / "echo", SPECIFIC.format("versions: 1 versions: 7")),
        ]
    else:
        models += [MODEL.format("echo", exported / "echo", LABELS.format("stable", 2))]
    (directory / "models").write_text(f"model_config_list {{ {' '.join(models)} }}")
    batching = None
    if kind in BATCHING_FILES:
        batching = directory / "batching"
        batching.write_text(BATCHING_FILES[kind])
    return ServingOptions(
        model_config_file=directory / "models",
        enable_batching=batching is not None,
        batching_parameters_file=batching,
        allow_version_labels_for_unavailable_models=True,
    )


IMPLEMENTATIONS = [
    pytest.param((local_server, local_start_error), id="local"),
    pytest.param(
        (tf_serving, tf_serving_start_error),
        id="tf_serving",
        marks=pytest.mark.skipif(TF_SERVING is None, reason="tensorflow_model_server is not on the PATH"),
    ),
]


@pytest.fixture(scope="module", params=IMPLEMENTATIONS)
def implementation(request):
    return request.param


@pytest.fixture(scope="module")
def servers(implementation, exported):
    """Return the server for a rule: one for all rules of a kind, but a fresh one where a rule changes it."""
    running = {}
    with ExitStack() as stack:

        def server_for(rule):
            key = rule.fact if rule.server in CHANGING else rule.server
            if key not in running:
                directory = exported / f"server_{len(list(exported.iterdir()))}"
                directory.mkdir()
                options = write_options(rule.server, exported, directory)
                running[key] = stack.enter_context(implementation[0](options, directory))
            return running[key]

        yield server_for


def agrees(answer, expected):
    """Whether an answer is the expected one; of a refusal, the text may hold more, and None agrees with any."""
    if isinstance(answer, list) and isinstance(expected, list):
        return len(answer) == len(expected) and all(map(agrees, answer, expected))
    if isinstance(expected, tuple) and len(expected) == 2 and isinstance(expected[1], str | None):
        text = answer[1]["error"] if isinstance(answer[1], dict) and "error" in answer[1] else answer[1]
        return answer[0] == expected[0] and isinstance(text, str) and (expected[1] or "") in text
    return answer == expected


@pytest.mark.parametrize("rule", RULES, ids=[rule.fact for rule in RULES])
def test_the_server_keeps_to_the_rule(servers, rule):
    answer = rule.ask(servers(rule))

    assert agrees(answer, rule.expected), answer


@pytest.mark.parametrize(("models", "settings", "message"), START_ERRORS.values(), ids=START_ERRORS)
def test_a_wrong_config_ends_the_start(implementation, exported, tmp_path, models, settings, message):
    (tmp_path / "models").write_text(f"model_config_list {{ {models.replace('{directory}', str(exported))} }}")
    options = {"model_config_file": tmp_path / "models", **settings}
    if "batching" in options:
        options["batching_parameters_file"] = tmp_path / "batching"
        (tmp_path / "batching").write_text(options.pop("batching"))

    assert message in implementation[1](ServingOptions(**options), tmp_path)
