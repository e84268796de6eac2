"""The local model server: an export directory enters, gRPC and REST endpoints of its newest version stand.

For development and tests, where TF Serving is not installed: the same services, messages, codes and version polling,
with one run of the signature per request (requests are not merged). `serve` prefers the real server where there is one.
"""

import logging
import os
import shutil
import signal
import threading
from collections.abc import Callable
from concurrent import futures
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn, Self

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from softprompt_tf.errors import ServingError
from softprompt_tf.export.model_versions import ModelVersions, find_versions
from softprompt_tf.export.rest import start_rest_server

TF_SERVING_BINARY = "tensorflow_model_server"
_MAX_MESSAGE_CHARACTERS = 1024  # TF Serving cuts the text of a status here
_STATUS_CODES = {code.name: code for code in grpc.StatusCode}

logger = logging.getLogger(__name__)


class ModelServer:
    """Serve one model's newest version until stopped.

    Args:
      base_path: directory whose integer-named sub-directories are the versions of the model.
      model_name: the name that requests must use.
      grpc_port: port of the gRPC services, 0 for any free one. Default 8500.
      rest_port: port of the REST form, 0 for any free one, None for no REST. Default 8501.
      host: address to listen on. Default 127.0.0.1: this machine only.
      poll_interval_s: seconds between two looks at the directory. Default 1.
      max_workers: gRPC requests that run at the same time. Default 4.

    Attributes:
      grpc_port: the port in use, once started.
      rest_port: the port in use, once started; None without REST.

    Example:
      with ModelServer("exports/t5", model_name="t5", grpc_port=0) as server:
          PredictionClient(f"localhost:{server.grpc_port}", model_name="t5")
    """

    def __init__(
        self,
        base_path: str | Path,
        *,
        model_name: str,
        grpc_port: int = 8500,
        rest_port: int | None = 8501,
        host: str = "127.0.0.1",
        poll_interval_s: float = 1.0,
        max_workers: int = 4,
    ):
        self.base_path, self.model_name, self.host = Path(base_path).resolve(), model_name, host
        self.grpc_port, self.rest_port = grpc_port, rest_port
        self._poll_interval_s, self._max_workers = poll_interval_s, max_workers
        self._versions = ModelVersions(self.base_path, model_name=model_name)
        self._stopping, self._stopped = threading.Event(), threading.Event()
        self._grpc_server: grpc.Server | None = None
        self._rest_server: ThreadingHTTPServer | None = None
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Load the newest version, then listen.

        Raises:
          ServingError: if there is no version, none loads, or a port is taken.
        """
        _check_directory(self.base_path)
        self._versions.poll()
        if not self._versions.is_serving:
            failures = [f"version {number}: {state.error_message}" for number, state in self._versions.states().items()]
            raise ServingError(f"At least one version must load. Received: {self.base_path}: {'; '.join(failures)}")
        try:
            self._start_grpc()
            if self.rest_port is not None:
                self._start_rest(self.rest_port)
        except (RuntimeError, OSError) as error:
            self.stop()
            raise ServingError(
                f"Ports {self.grpc_port} and {self.rest_port} on {self.host} must be free. Received: {error}."
                " Hint: choose other ports, or 0 for any free one.",
                status="UNAVAILABLE",
            ) from error
        self._start_thread("poll", self._poll_until_stopped)

    def stop(self, grace_s: float = 5.0) -> None:
        """Refuse new requests, let those under way finish for up to `grace_s` seconds, and free the ports."""
        self._stopping.set()
        if self._grpc_server is not None:
            self._grpc_server.stop(grace_s).wait()
        if self._rest_server is not None:
            self._rest_server.shutdown()
            self._rest_server.server_close()
        for thread in self._threads:
            thread.join()
        self._versions.close()
        self._stopped.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Block until the server is stopped; return whether it is, where `timeout_s` may end the wait before."""
        return self._stopped.wait(timeout_s)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _start_grpc(self) -> None:
        # No limit on messages, as in TF Serving; a port that another process serves is an error, not shared.
        options = [
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
            ("grpc.so_reuseport", 0),
        ]
        server = grpc.server(futures.ThreadPoolExecutor(self._max_workers), options=options)
        prediction, model = _PredictionService(self._versions), _ModelService(self._versions)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(prediction, server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(model, server)
        self.grpc_port = server.add_insecure_port(f"{self.host}:{self.grpc_port}")
        server.start()
        self._grpc_server = server

    def _start_rest(self, port: int) -> None:
        self._rest_server = start_rest_server(self._versions, host=self.host, port=port)
        self.rest_port = self._rest_server.server_address[1]
        self._start_thread("rest", self._rest_server.serve_forever)

    def _start_thread(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=f"model-server-{name}", daemon=True)
        thread.start()
        self._threads.append(thread)

    def _poll_until_stopped(self) -> None:
        while not self._stopping.wait(self._poll_interval_s):
            try:
                self._versions.poll()
            except Exception:  # a directory that vanishes while it is read must not end the polling
                logger.exception("Looking for versions in %s failed", self.base_path)


def serve(
    directory: str | Path, *, model_name: str | None = None, grpc_port: int = 8500, rest_port: int | None = 8501
) -> None:
    """Serve an export directory until SIGINT or SIGTERM; call from the main thread.

    Where `tensorflow_model_server` is on the PATH, this process becomes that server, with the same ports and name.

    Args:
      directory: what `write_saved_model` wrote to: it holds the version directories.
      model_name: default the directory's own name.
    """
    base_path = Path(directory).resolve()
    name = model_name or base_path.name
    _check_directory(base_path)
    binary = shutil.which(TF_SERVING_BINARY)
    if binary is not None:
        _become_tf_serving(binary, base_path, name, grpc_port, rest_port)
    with ModelServer(base_path, model_name=name, grpc_port=grpc_port, rest_port=rest_port) as server:
        print(f"Serving model {name} from {base_path} on {server.host}, by the local model server", flush=True)
        print(f"gRPC: {server.host}:{server.grpc_port}", flush=True)
        if server.rest_port is not None:
            print(f"REST: http://{server.host}:{server.rest_port}/v1/models/{name}", flush=True)
        _wait_for_signal()
    print("Stopped", flush=True)


def _become_tf_serving(
    binary: str, base_path: Path, model_name: str, grpc_port: int, rest_port: int | None
) -> NoReturn:
    command = [
        binary,
        f"--port={grpc_port}",
        f"--rest_api_port={rest_port or 0}",
        f"--model_name={model_name}",
        f"--model_base_path={base_path}",
    ]
    print(f"Serving model {model_name} from {base_path} by TF Serving: {' '.join(command)}", flush=True)
    os.execv(binary, command)


def _wait_for_signal() -> None:
    received = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, lambda *_: received.set()) for number in signals}
    try:
        received.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _check_directory(base_path: Path) -> None:
    if not base_path.is_dir():
        raise ServingError(f"The directory to serve must exist. Received: {base_path}.", status="NOT_FOUND")
    if not find_versions(base_path):
        is_version = (base_path / "saved_model.pb").is_file()
        hint = f" Hint: this is one version; serve {base_path.parent}." if is_version else ""
        raise ServingError(
            f"The directory to serve must hold version directories such as 1/. Received: {base_path}.{hint}",
            status="NOT_FOUND",
        )


def _respond(function: Callable[[Any], Any], request: Any, context: grpc.ServicerContext) -> Any:
    try:
        return function(request)
    except ServingError as error:
        context.abort(_STATUS_CODES[error.status], str(error)[:_MAX_MESSAGE_CHARACTERS])
    except Exception as error:
        logger.exception("A request failed")
        context.abort(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}"[:_MAX_MESSAGE_CHARACTERS])


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata; the other calls stay UNIMPLEMENTED, as the base class has them."""

    def __init__(self, versions: ModelVersions):
        self._versions = versions

    def Predict(
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        return _respond(self._versions.predict, request, context)

    def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        return _respond(self._versions.metadata, request, context)


class _ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus; HandleReloadConfigRequest stays UNIMPLEMENTED."""

    def __init__(self, versions: ModelVersions):
        self._versions = versions

    def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        return _respond(self._versions.status, request, context)
