"""The warm-up file is what a model server reads, and its requests run."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from softprompt_tf.errors import ServingError
from softprompt_tf.export import ModelServer, PredictionClient
from softprompt_tf.export.server.serving_options import ServingOptions
from softprompt_tf.export.versions.warmup import write_warmup_requests

pytestmark = pytest.mark.thorough

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
SIGNATURES = ["serving_default", "classify", "score", "generate_with_prompt"]


def requests_of(directory):
    records = tf.data.TFRecordDataset(str(directory / WARMUP_FILE)).as_numpy_iterator()
    logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in records]
    assert {log.WhichOneof("log_type") for log in logs} == {"predict_log"}
    return [log.predict_log.request for log in logs]


def test_there_is_a_request_of_one_row_per_signature(version_directory):
    requests = requests_of(version_directory)

    assert [request.model_spec.signature_name for request in requests] == SIGNATURES
    sizes = [{tensor.tensor_shape.dim[0].size for tensor in request.inputs.values()} for request in requests]
    assert sizes == [{1}] * 4


def test_the_first_task_is_asked(version_directory):
    named = [request.inputs["task_id"] for request in requests_of(version_directory)[:3]]

    assert [tf.make_ndarray(tensor).tolist() for tensor in named] == [[b"mood"]] * 3


@pytest.mark.parametrize("batching", ["max_batch_size { value: 1 }", "max_batch_size { value: 6 }"])
def test_a_version_loads_where_batches_are_small(base_directory, tmp_path, batching):
    file = tmp_path / "batching.config"
    file.write_text(batching)
    options = ServingOptions(enable_batching=True, batching_parameters_file=file)

    with (
        ModelServer(base_directory, model_name="tiny", grpc_port=0, rest_port=None, options=options) as server,
        PredictionClient(f"127.0.0.1:{server.grpc_port}", model_name="tiny") as client,
    ):
        assert client.status() == [(1, "AVAILABLE")]


def test_the_number_of_requests_is_returned(tmp_path):
    written = write_warmup_requests(tmp_path, ["mood", "story"], hidden_dim=16)

    assert written == len(requests_of(tmp_path)) == 4


def test_every_request_is_answered_without_a_status(version_directory, signatures):
    for request in requests_of(version_directory):
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        answer = signatures[request.model_spec.signature_name](**inputs)

        bad = {b"This task has no labels. Ask for `serving_default`."}
        allowed = {b"", *(bad if request.model_spec.signature_name == "classify" else ())}
        assert set(answer["status"].tolist()) <= allowed


def test_a_model_server_runs_the_requests_before_it_serves(version_directory, tmp_path):
    # Seen from its refusal of a version whose warm-up asks for a signature that is not there.
    shutil.copytree(version_directory, tmp_path / "tiny" / "1")
    bad = requests_of(version_directory)[0]
    bad.model_spec.signature_name = "translate"
    log = prediction_log_pb2.PredictionLog(predict_log={"request": bad})
    with tf.io.TFRecordWriter(str(tmp_path / "tiny" / "1" / WARMUP_FILE)) as writer:
        writer.write(log.SerializeToString())

    with pytest.raises(ServingError, match='version 1: Serving signature key "translate" not found'):
        ModelServer(tmp_path / "tiny", model_name="tiny", grpc_port=0, rest_port=None).start()


def test_the_prompt_of_a_request_has_the_backbones_width(version_directory):
    prompt = tf.make_ndarray(requests_of(version_directory)[3].inputs["prompt"])

    assert (prompt.shape, prompt.dtype) == ((1, 1, 16), np.float32)
