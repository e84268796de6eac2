"""What the model server does when something goes wrong: what the caller is told, and that the next request is answered."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import tensorflow as tf
from echo_model import predict_request, wait_until
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc, prediction_service_pb2_grpc

from softprompt_tf.errors import RowError, ServingError
from softprompt_tf.export.client.client import Generation, PredictionClient
from softprompt_tf.export.server.server import ModelServer
from softprompt_tf.export.server.serving_options import ServingOptions

pytestmark = pytest.mark.thorough

GOOD = {"task_id": ["x"], "text": ["a"]}
MEBIBYTE = 2**20


@pytest.fixture
def serve(base):
    """Start a server of version 1 and return it with its stub."""
    running = []

    def start(**settings):
        settings = {"grpc_port": 0, "rest_port": None, "poll_interval_s": 0.1, **settings}
        server = ModelServer(base, model_name="echo", **settings)
        server.start()
        channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}")
        running.append((server, channel))
        return server, prediction_service_pb2_grpc.PredictionServiceStub(channel)

    yield start
    for server, channel in running:
        channel.close()
        server.stop()


@pytest.fixture
def slow_batches(tmp_path):
    """Options of a server that holds a request of one row for 2 s, and runs two rows at once."""
    path = tmp_path / "batching"
    path.write_text(
        "max_batch_size { value: 2 } batch_timeout_micros { value: 2000000 } num_batch_threads { value: 1 }"
    )
    return ServingOptions(enable_batching=True, batching_parameters_file=path)


def put(source, base, number):
    """Put a version in place at once, as an atomic export does."""
    shutil.copytree(source, base.parent / "incoming")
    os.rename(base.parent / "incoming", base / str(number))


def score(stub, **spec):
    response = stub.Predict(predict_request(GOOD, **spec), timeout=30)
    return response.outputs["score"].float_val[0]


def refusal(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code().name, caught.value.details()


def states(server):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "echo"
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        response = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request, timeout=30)
    names = get_model_status_pb2.ModelVersionStatus.State.Name
    return {item.version: names(item.state) for item in response.model_version_status}


# === The server dies ===


def test_a_killed_server_is_unavailable_until_it_is_started_again(base):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = f"from softprompt_tf.export import serve; serve({str(base)!r}, grpc_port={port}, rest_port=None)"
    environment = {**os.environ, "PATH": "/nowhere"}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    with process, PredictionClient(f"127.0.0.1:{port}", model_name="echo", max_retries=0, timeout_s=20) as client:
        assert [process.stdout.readline().split(":")[0] for _ in range(3)] == [
            f"Loading model echo from {base}\n",
            f"Serving model echo from {base} on 127.0.0.1, by the local model server\n",
            "gRPC",
        ]
        assert client.generate(["a"], task_id="x") == [Generation("x:a", 101.0)]

        process.send_signal(signal.SIGKILL)
        process.wait(20)
        with pytest.raises(ServingError) as caught:
            client.generate(["a"], task_id="x")
        assert caught.value.status == "UNAVAILABLE"

        with (
            ModelServer(base, model_name="echo", grpc_port=port, rest_port=None),
            PredictionClient(f"127.0.0.1:{port}", model_name="echo", max_retries=5, timeout_s=20) as patient,
        ):
            assert patient.generate(["a"], task_id="x") == [Generation("x:a", 101.0)]


# === A version is damaged or goes away ===


def half_written(version):
    (shard,) = (version / "variables").glob("*.data-*")
    shard.unlink()


def graph_missing(version):
    (version / "saved_model.pb").unlink()


def graph_cut(version):
    data = (version / "saved_model.pb").read_bytes()
    (version / "saved_model.pb").write_bytes(data[: len(data) // 2])


def shard_cut(version):
    (shard,) = (version / "variables").glob("*.data-*")
    shard.write_bytes(shard.read_bytes()[:40])


def shard_changed(version):
    (shard,) = (version / "variables").glob("*.data-*")
    data = shard.read_bytes()
    shard.write_bytes(bytes([data[0] ^ 1]) + data[1:])


@pytest.mark.parametrize("damage", [half_written, graph_missing, graph_cut, shard_cut, shard_changed])
def test_a_damaged_version_leaves_the_old_one_and_one_line_in_the_log(serve, base, exported, caplog, tmp_path, damage):
    server, stub = serve()
    shutil.copytree(exported / "2", tmp_path / "damaged")
    damage(tmp_path / "damaged")

    put(tmp_path / "damaged", base, 2)
    wait_until(lambda: "Version 2 of model echo does not load" in caplog.text)
    waited = threading.Event()
    waited.wait(0.5)  # a few more looks at the directory

    assert score(stub) == 101.0
    assert states(server) == {2: "LOADING", 1: "AVAILABLE"}
    assert refusal(lambda: score(stub, version=2)) == ("NOT_FOUND", "Servable not found for request: Specific(echo, 2)")
    lines = [record.getMessage() for record in caplog.records if "does not load" in record.getMessage()]
    assert len(lines) == 1
    assert "\n" not in lines[0]


def test_a_version_removed_while_serving_gives_way_to_the_one_before(serve, base, exported):
    put(exported / "2", base, 2)
    server, stub = serve()
    assert score(stub) == 201.0

    shutil.rmtree(base / "2")
    wait_until(lambda: states(server) == {2: "END", 1: "AVAILABLE"})

    assert score(stub) == 101.0
    message = "Servable not found for request: Specific(echo, 2)"
    assert refusal(lambda: score(stub, version=2)) == ("NOT_FOUND", message)


def test_a_request_under_way_is_answered_by_the_version_that_took_it(serve, base, exported, slow_batches):
    server, stub = serve(options=slow_batches)
    waiting = stub.Predict.future(predict_request(GOOD), timeout=30)
    wait_until(lambda: _is_waiting(server))

    put(exported / "2", base, 2)
    shutil.rmtree(base / "1")

    assert waiting.result().model_spec.version.value == 1
    wait_until(lambda: states(server) == {2: "AVAILABLE", 1: "END"})
    assert score(stub) == 201.0


# === A client goes away ===


def _is_waiting(server):
    return any(not queue.is_empty for queue in list(server._scheduler._waiting))


def test_a_client_that_cancels_harms_nobody_in_its_batch(serve, slow_batches):
    server, stub = serve(options=slow_batches)
    cancelled = stub.Predict.future(predict_request(GOOD), timeout=30)
    wait_until(lambda: _is_waiting(server))

    assert cancelled.cancel()
    neighbour = stub.Predict(predict_request({"task_id": ["y"], "text": ["bc"]}), timeout=30)

    assert cancelled.code().name == "CANCELLED"
    assert tf.make_ndarray(neighbour.outputs["score"]).tolist() == [102.0]
    assert score(stub) == 101.0


def test_a_deadline_that_passes_is_the_clients_error_only(serve, slow_batches):
    _, stub = serve(options=slow_batches)

    code, _ = refusal(lambda: stub.Predict(predict_request(GOOD), timeout=0.2))

    assert code == "DEADLINE_EXCEEDED"
    assert score(stub) == 101.0


# === A request is too large ===


def prompt_of(mebibytes):
    rows = mebibytes * MEBIBYTE // 8  # of two float32
    prompt = tf.make_tensor_proto(np.zeros((1, rows, 2), np.float32))
    return predict_request({"prompt": prompt, "text": ["a"]}, signature="generate_with_prompt")


def test_a_request_above_the_message_limit_is_refused_and_one_below_it_answered(serve):
    _, stub = serve(max_message_bytes=100 * MEBIBYTE)

    code, message = refusal(lambda: stub.Predict(prompt_of(101), timeout=60))

    assert code == "RESOURCE_EXHAUSTED"
    assert "larger than max" in message
    assert stub.Predict(prompt_of(20), timeout=60).outputs["output"].string_val == [b"a"]
    assert score(stub) == 101.0


# === A row is bad ===


def test_a_bad_row_of_one_caller_leaves_the_callers_merged_with_it_alone(base_directory, server, tmp_path):
    path = tmp_path / "batching"
    path.write_text("max_batch_size { value: 16 } batch_timeout_micros { value: 300000 }")
    options = ServingOptions(enable_batching=True, batching_parameters_file=path)
    texts = {"mood": "a charming film", "nope": "a dull film", "reply": "the soup was warm"}

    def ask(client, task_id):
        try:
            return client.generate([texts[task_id]], task_id=task_id)
        except RowError as error:
            return error.row_status

    with PredictionClient(f"127.0.0.1:{server.grpc_port}", model_name="tiny") as alone:
        expected = {task_id: ask(alone, task_id) for task_id in texts}
    with (
        ModelServer(base_directory, model_name="tiny", grpc_port=0, rest_port=None, options=options) as merging,
        PredictionClient(f"127.0.0.1:{merging.grpc_port}", model_name="tiny") as client,
        ThreadPoolExecutor(3) as callers,
    ):
        answers = dict(zip(texts, callers.map(lambda task_id: ask(client, task_id), texts), strict=True))

    assert [status[:20] for status in answers["nope"]] == [status[:20] for status in expected["nope"]]
    assert answers["mood"][0].text == expected["mood"][0].text
    assert answers["reply"][0].score == pytest.approx(expected["reply"][0].score, rel=1e-5)
