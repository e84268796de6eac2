"""A model server under test, the local one or TF Serving's own: options enter, an object to ask over gRPC and REST leaves."""

import shutil
import socket
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import tensorflow as tf
from echo_model import ask_rest, predict_request, wait_until
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from softprompt_tf.errors import ServingError
from softprompt_tf.export.server.server import ModelServer

TF_SERVING = shutil.which("tensorflow_model_server")


@dataclass
class AskedServer:
    """Ports of a running server; every answer is what the caller sees: ("OK", content), or a code and its text."""

    grpc_port: int
    rest_port: int
    directory: Path

    def __post_init__(self):
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}", unlimited)
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.model = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def predict(self, inputs, **spec):
        return self.together((inputs, spec))[0]

    def together(self, *requests):
        """Send all requests at once; the answers' outputs are plain lists."""
        calls = [
            self.prediction.Predict.future(predict_request(inputs, **spec), timeout=60) for inputs, spec in requests
        ]
        return [_answer(call.result, _plain_outputs) for call in calls]

    def spec(self, inputs, **spec):
        def plain(response):
            return response.model_spec.name, response.model_spec.signature_name, response.model_spec.version.value

        return _answer(lambda: self.prediction.Predict(predict_request(inputs, **spec), timeout=60), plain)

    def metadata(self, name, *fields):
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
        if name is not None:
            request.model_spec.name = name

        def plain(response):
            signatures = get_model_metadata_pb2.SignatureDefMap()
            response.metadata["signature_def"].Unpack(signatures)
            signature = signatures.signature_def["serving_default"]
            version = response.model_spec.version.value
            return version, sorted(signature.inputs), sorted(signature.outputs), signature.method_name

        return _answer(lambda: self.prediction.GetModelMetadata(request, timeout=60), plain)

    def status(self, name, version=None):
        request = get_model_status_pb2.GetModelStatusRequest()
        if name is not None:
            request.model_spec.name = name
        if version is not None:
            request.model_spec.version.value = version

        def plain(response):
            return [(item.version, item.state) for item in response.model_version_status]

        return _answer(lambda: self.model.GetModelStatus(request, timeout=60), plain)

    def reload(self, *models):
        """Replace the models; each is the fields of a ModelConfig as a dictionary."""
        request = model_management_pb2.ReloadConfigRequest()
        for fields in models:
            request.config.model_config_list.config.add(model_platform="tensorflow", **fields)
        return _answer(lambda: self.model.HandleReloadConfigRequest(request, timeout=60), lambda _: None)

    def rest(self, method, path, body=None):
        return ask_rest(self.rest_port, method, path, body)


def _answer(call, plain):
    try:
        return "OK", plain(call())
    except grpc.RpcError as error:
        return error.code().name, error.details()


def _plain_outputs(response):
    return {name: tf.make_ndarray(tensor).tolist() for name, tensor in response.outputs.items()}


@contextmanager
def local_server(options, directory):
    with ModelServer(grpc_port=0, rest_port=0, poll_interval_s=0.1, options=options) as server:
        yield AskedServer(server.grpc_port, server.rest_port, directory)


@contextmanager
def tf_serving(options, directory):
    grpc_port, rest_port = _free_port(), _free_port()
    command = [TF_SERVING, f"--port={grpc_port}", f"--rest_api_port={rest_port}", *options.flags()]
    with open(directory / "tf_serving.log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until(lambda: process.poll() is not None or (_listens(grpc_port) and _listens(rest_port)), timeout_s=60)
        yield AskedServer(grpc_port, rest_port, directory)
    finally:
        process.terminate()
        process.wait(20)


def local_start_error(options, directory):
    """Return why the local server does not start."""
    try:
        with local_server(options, directory):
            return "it started"
    except ServingError as error:
        return str(error)


def tf_serving_start_error(options, directory):
    """Return what TF Serving says before it ends."""
    command = [TF_SERVING, f"--port={_free_port()}", *options.flags()]
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stderr


def _free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
