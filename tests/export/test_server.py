"""The local model server on a small SavedModel whose answers are known by hand."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request

import grpc
import numpy as np
import pytest
import tensorflow as tf
from echo_model import predict_request, wait_until
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from softprompt_tf.errors import RowError, ServingError
from softprompt_tf.export.client.client import Classification, Generation, PredictionClient
from softprompt_tf.export.server import serve_until_stopped
from softprompt_tf.export.server.serve_until_stopped import serve
from softprompt_tf.export.server.server import ModelServer
from softprompt_tf.export.server.serving_options import ServingOptions


@pytest.fixture(scope="module")
def server(exported, tmp_path_factory):
    base = tmp_path_factory.mktemp("served") / "echo"
    shutil.copytree(exported / "1", base / "1")
    with start(base) as running:
        yield running


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as opened:
        yield opened


def start(base, **settings):
    ports = {"grpc_port": 0, "rest_port": 0}
    return ModelServer(base, model_name="echo", **{**ports, "poll_interval_s": 0.1, **settings})


def open_client(server, **settings):
    return PredictionClient(f"127.0.0.1:{server.grpc_port}", model_name="echo", **settings)


# === gRPC ===


def test_the_client_gets_every_kind_of_answer(server):
    with open_client(server) as client:
        assert client.generate(["abc", "\u00e9"], task_id=["x", "y"]) == [
            Generation("x:abc", 103.0),
            Generation("y:\u00e9", 102.0),
        ]
        assert client.classify(["a"], task_id="x") == [Classification("yes", 0.75, ("yes", "no"), (-0.25, -1.5))]
        assert client.score(["a", "b"], ["four", "to"], task_id="x") == [-4.0, -2.0]
        assert client.generate_with_prompt(np.full((3, 2), 0.5, np.float32), ["a"]) == [Generation("a", 3.0)]
        assert client.status() == [(1, "AVAILABLE")]


def test_a_bad_row_reaches_the_caller_as_an_error(server):
    with open_client(server) as client, pytest.raises(RowError, match="1 of 2 rows .* row 1: unknown task"):
        client.generate(["a", "b"], task_id=["x", "nope"])


def test_response_names_model_signature_and_version(channel):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    response = stub.Predict(predict_request({"task_id": ["x"], "text": ["a"]}, output_filter=["score"]))

    spec = response.model_spec
    assert (spec.name, spec.signature_name, spec.version.value) == ("echo", "serving_default", 1)
    assert list(response.outputs) == ["score"]
    assert tf.make_ndarray(response.outputs["score"]).tolist() == [101.0]


GOOD = {"task_id": ["x"], "text": ["a"]}
BROKEN_PROMPT = tf.make_tensor_proto(np.zeros((1, 3, 2), np.float32))
BROKEN_PROMPT.tensor_content = b"123"
NEGATIVE_ROWS = tf.make_tensor_proto(["a"])
NEGATIVE_ROWS.tensor_shape.dim[0].size = -1
HUGE = tensor_pb2.TensorProto(dtype=7, tensor_shape={"dim": [{"size": 2**30}]})
REFUSALS = {
    "unknown model": ({"inputs": GOOD, "name": "m"}, "NOT_FOUND", "Servable not found for request: Latest(m)"),
    "unknown version": (
        {"inputs": GOOD, "version": 7},
        "NOT_FOUND",
        "Servable not found for request: Specific(echo, 7)",
    ),
    "version of an unknown model": (
        {"inputs": GOOD, "name": "m", "version": 1},
        "NOT_FOUND",
        "Servable not found for request: Specific(m, 1)",
    ),
    "empty model name": ({"inputs": GOOD, "name": ""}, "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    "unknown label": (
        {"inputs": GOOD, "label": "stable"},
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: stable",
    ),
    "unknown signature": (
        {"inputs": GOOD, "signature": "x"},
        "FAILED_PRECONDITION",
        'Serving signature key "x" not found.',
    ),
    "missing input": (
        {"inputs": {"text": ["a"]}},
        "INVALID_ARGUMENT",
        (
            "input size does not match signature: 1!=2 len({text}) != len({task_id,text})."
            " Sent extra: {}. Missing but required: {task_id}."
        ),
    ),
    "extra input": (
        {"inputs": {**GOOD, "more": [1.0]}},
        "INVALID_ARGUMENT",
        (
            "input size does not match signature: 3!=2 len({more,task_id,text}) != len({task_id,text})."
            " Sent extra: {more}. Missing but required: {}."
        ),
    ),
    "wrong input name": (
        {"inputs": {"task_id": ["x"], "txt": ["a"]}},
        "INVALID_ARGUMENT",
        (
            "Signature input alias: text(feed name: serving_default_text:0) not found in request and no default value"
            " provided. Inputs expected to be in the request {task_id,txt}, or default input alias set: "
        ),
    ),
    "unknown output": (
        {"inputs": GOOD, "output_filter": ["out"]},
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: out Outputs expected to be in the set {output,score,status}.",
    ),
    "duplicate output": (
        {"inputs": GOOD, "output_filter": ["score", "score"]},
        "INVALID_ARGUMENT",
        "duplicate output tensor alias: score",
    ),
    "wrong dtype": (
        {"inputs": {"task_id": ["x"], "text": [1.0]}},
        "INVALID_ARGUMENT",
        "Expects arg[1] to be string but float is provided",
    ),
    "a dtype that does not exist": (
        {"inputs": {"task_id": ["x"], "text": tensor_pb2.TensorProto(dtype=999)}},
        "INVALID_ARGUMENT",
        "tensor parsing error: text",
    ),
    "a shape of too many bytes": (
        {"inputs": {"task_id": ["x"], "text": HUGE}},
        "INVALID_ARGUMENT",
        "tensor parsing error: text",
    ),
    "bytes that do not fill the shape": (
        {"inputs": {"prompt": BROKEN_PROMPT, "text": ["a"]}, "signature": "generate_with_prompt"},
        "INVALID_ARGUMENT",
        "tensor parsing error: prompt",
    ),
    "a negative number of rows": (
        {"inputs": {"task_id": ["x"], "text": NEGATIVE_ROWS}},
        "INVALID_ARGUMENT",
        "tensor parsing error: text",
    ),
}


@pytest.mark.parametrize(("arguments", "code", "message"), REFUSALS.values(), ids=REFUSALS)
def test_refusals_have_the_codes_and_texts_of_tf_serving(channel, arguments, code, message):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(predict_request(**arguments), timeout=10)

    assert (caught.value.code().name, caught.value.details()) == (code, message)


def test_an_error_in_the_graph_keeps_its_status_and_is_cut(channel):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    inputs = {"task_id": ["x"], "text": ["crash"], "target": ["a"]}

    with pytest.raises(grpc.RpcError, match="the graph refuses this text") as caught:
        stub.Predict(predict_request(inputs, signature="score"), timeout=10)

    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert len(caught.value.details()) <= 1024


@pytest.mark.parametrize(
    ("name", "fields", "code", "message"),
    [
        ("echo", [], "INVALID_ARGUMENT", "GetModelMetadataRequest must specify at least one metadata_field"),
        ("echo", ["x"], "INVALID_ARGUMENT", "Metadata field x is not supported"),
        ("m", ["signature_def"], "NOT_FOUND", "Servable not found for request: Latest(m)"),
        (None, ["signature_def"], "INVALID_ARGUMENT", "Missing ModelSpec"),
    ],
    ids=["no field", "unknown field", "unknown model", "no model"],
)
def test_metadata_refusals(channel, name, fields, code, message):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    if name is not None:
        request.model_spec.name = name

    with pytest.raises(grpc.RpcError) as caught:
        stub.GetModelMetadata(request, timeout=10)

    assert (caught.value.code().name, caught.value.details()) == (code, message)


def test_metadata_holds_the_signatures(channel):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "echo"

    response = stub.GetModelMetadata(request, timeout=10)

    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    assert sorted(signatures.signature_def["score"].inputs) == ["target", "task_id", "text"]
    assert response.model_spec.version.value == 1


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [("m", None, "Could not find any versions of model m"), ("echo", 9, "Could not find version 9 of model echo")],
    ids=["model", "version"],
)
def test_status_of_what_is_not_there_is_not_found(channel, name, version, message):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = name
    if version is not None:
        request.model_spec.version.value = version

    with pytest.raises(grpc.RpcError) as caught:
        model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request, timeout=10)

    assert (caught.value.code().name, caught.value.details()) == ("NOT_FOUND", message)


@pytest.mark.parametrize(
    ("signature", "code", "message"),
    [
        ("", "INVALID_ARGUMENT", "Expected one input Tensor."),
        ("x", "INVALID_ARGUMENT", "No signature was found with the name: x"),
    ],
)
def test_requests_with_examples_are_refused_as_the_signatures_need_more_inputs(channel, signature, code, message):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name, request.model_spec.signature_name = "echo", signature

    with pytest.raises(grpc.RpcError) as caught:
        prediction_service_pb2_grpc.PredictionServiceStub(channel).Classify(request, timeout=10)

    assert (caught.value.code().name, caught.value.details()) == (code, message)


# === Start and stop ===


def test_a_missing_directory_and_one_version_are_clear_errors(tmp_path, exported):
    with pytest.raises(ServingError, match="The directory to serve must exist. Received: .*nowhere"):
        start(tmp_path / "nowhere").start()
    with pytest.raises(ServingError, match=f"Hint: this is one version; serve {exported}"):
        start(exported / "1").start()
    exports = tmp_path / "exports"
    shutil.copytree(exported, exports / "t5")
    with pytest.raises(ServingError, match=f"Hint: serve one of the exports in it, such as {exports / 't5'}"):
        start(exports).start()


def test_a_model_without_a_version_is_waited_for(tmp_path, exported, caplog):
    server = start(tmp_path)
    starting = threading.Thread(target=server.start)
    starting.start()
    wait_until(lambda: "No versions of servable echo found under base path" in caplog.text)
    assert starting.is_alive()

    shutil.copytree(exported / "1", tmp_path / ".incoming")
    (tmp_path / ".incoming").rename(tmp_path / "1")
    starting.join(20)

    with open_client(server) as client:
        assert client.generate(["a"], task_id="x")[0].text == "x:a"
    server.stop()


def test_a_server_that_waits_for_a_version_can_be_stopped(tmp_path):
    server = start(tmp_path)
    refusals = []

    def try_to_start():
        try:
            server.start()
        except ServingError as error:
            refusals.append(str(error))

    starting = threading.Thread(target=try_to_start)
    starting.start()
    server.stop()
    starting.join(20)

    assert refusals == [f"The newest version must load. Received: {tmp_path}: no version"]


def test_an_interval_of_0_looks_once_as_in_tf_serving(base):
    looks = [thread.name for thread in threading.enumerate()].count("model-server-versions")

    with start(base, rest_port=None, poll_interval_s=0) as server, open_client(server) as client:
        assert client.status() == [(1, "AVAILABLE")]
        assert [thread.name for thread in threading.enumerate()].count("model-server-versions") == looks


@pytest.mark.parametrize("interval_s", [-1, float("nan"), "1", None])
def test_an_interval_that_is_no_number_of_seconds_is_refused(base, interval_s):
    with pytest.raises(ServingError, match="`poll_interval_s` must be a number of seconds from 0 up. Received: "):
        start(base, poll_interval_s=interval_s)
    with pytest.raises(ServingError, match="`model_config_file_poll_wait_seconds` must be a number of seconds from 0"):
        ServingOptions(model_config_file_poll_wait_seconds=interval_s)


def test_a_port_that_is_taken_is_a_clear_error(base, server):
    with pytest.raises(ServingError, match=f"{server.grpc_port} .* must be free") as caught:
        ModelServer(base, model_name="echo", grpc_port=server.grpc_port, rest_port=None).start()
    assert caught.value.status == "UNAVAILABLE"

    with pytest.raises(ServingError, match=f"{server.rest_port} on 127.0.0.1 must be free"):
        ModelServer(base, model_name="echo", grpc_port=0, rest_port=server.rest_port).start()


def test_rest_is_served_beside_grpc(server):
    with urllib.request.urlopen(f"http://127.0.0.1:{server.rest_port}/v1/models/echo", timeout=10) as response:
        assert b"AVAILABLE" in response.read()


def test_stop_frees_the_ports_and_ends_the_wait(base):
    server = start(base, rest_port=None)
    server.start()
    assert server.rest_port is None
    assert not server.wait(timeout_s=0.01)

    server.stop()

    assert server.wait()
    with open_client(server, max_retries=0, timeout_s=2) as client, pytest.raises(ServingError, match="UNAVAILABLE"):
        client.generate(["a"], task_id="x")


def test_serve_becomes_tf_serving_where_it_is_installed(base, monkeypatch, capsys):
    calls = []

    def execve(path, command, environment):
        calls.append((path, command))
        raise SystemExit

    monkeypatch.setattr(serve_until_stopped.shutil, "which", lambda name: f"/opt/{name}")
    monkeypatch.setattr(serve_until_stopped.os, "execve", execve)
    monkeypatch.chdir(base.parent)

    with pytest.raises(SystemExit):
        serve("echo", grpc_port=9000, rest_port=None)

    binary = "/opt/tensorflow_model_server"
    flags = ["--port=9000", "--rest_api_port=0", "--model_name=echo", f"--model_base_path={base}"]
    assert calls == [(binary, [binary, *flags])]
    assert f"Serving model echo from {base} by TF Serving" in capsys.readouterr().out


def test_serve_says_what_it_serves_and_loads_and_ends_on_sigterm(base, tmp_path):
    code = f"from softprompt_tf.export.server.serve_until_stopped import serve; serve({str(base)!r}, grpc_port=0, rest_port=0)"
    environment = {**os.environ, "PATH": "/nowhere"}
    log = tmp_path / "log"
    with log.open("w") as errors:
        streams = {"stdout": subprocess.PIPE, "stderr": errors}
        process = subprocess.Popen([sys.executable, "-c", code], **streams, text=True, env=environment)

    loading, *lines = [process.stdout.readline() for _ in range(5)]
    shutil.copytree(base / "1", tmp_path / "2")
    (tmp_path / "2").rename(base / "2")
    wait_until(lambda: "Versions [1] of model echo are let go" in log.read_text())
    process.send_signal(signal.SIGTERM)
    rest_of_output, _ = process.communicate(timeout=20)

    assert loading == f"Loading model echo from {base}\n"
    assert lines[0] == f"Serving model echo from {base} on 127.0.0.1, by the local model server\n"
    assert lines[1].startswith("gRPC: 127.0.0.1:")
    assert lines[2].startswith("REST: http://127.0.0.1:")
    assert lines[2].endswith("/v1/models/echo\n")
    address = lines[1].removeprefix("gRPC: ").strip()
    ask = f"Ask it: softprompt query {address} --model-name echo --task-id TASK --text TEXT\n"
    assert lines[3] == ask
    assert (process.returncode, rest_of_output) == (0, "Stopped\n")
    assert "Version 2 of model echo is loaded" in log.read_text()
    assert "Version 1 of model echo is loaded" not in log.read_text()  # that it serves is said above
