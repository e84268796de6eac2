"""The local model server: gRPC and REST for an export directory or a model config.

For development and tests, where TF Serving is not installed: the same services, messages, codes, version polling, config
files and merging of requests.
"""

import functools
import logging
import threading
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Self

import grpc

from softprompt_tf.errors import ServingError
from softprompt_tf.export.server.batching import BatchScheduler
from softprompt_tf.export.server.grpc_services import add_services
from softprompt_tf.export.server.http_server import RestServer
from softprompt_tf.export.server.loaded_version import check_directory
from softprompt_tf.export.server.model_config import ModelSettings
from softprompt_tf.export.server.rest import answer
from softprompt_tf.export.server.served_models import ConfigFile, ServedModels
from softprompt_tf.export.server.serving_options import DEFAULT_OPTIONS, ServingOptions, check_interval
from softprompt_tf.files.local_paths import local_source

_WORKERS, _WORKERS_WITH_BATCHING = 4, 64

logger = logging.getLogger(__name__)


class ModelServer:
    """Serve one model's newest version, or the models of a config file, until stopped.

    Args:
      base_path: directory whose integer-named sub-directories are the versions of the model; None with a config file.
      model_name: the name that requests must use. Default the directory's name.
      grpc_port: port of the gRPC services, 0 for any free one. Default 8500.
      rest_port: port of the REST form, 0 for any free one, None for no REST. Default 8501.
      host: address to listen on. Default 127.0.0.1: this machine only.
      poll_interval_s: seconds between two looks for new versions; 0 means that there is one, at the start. Default 1.
      max_workers: gRPC requests under way at the same time. Default 4, or 64 with batching, where most of them wait.
      max_message_bytes: a larger request is refused: RESOURCE_EXHAUSTED, over REST 413. Default 2 GiB, as TF Serving's gRPC.
      options: the model config file, batching, labels and retries.

    Attributes:
      grpc_port: the port in use, once started.
      rest_port: the port in use, once started; None without REST.

    Examples:
      >>> from softprompt_tf.export import ModelServer, PredictionClient
      >>> with ModelServer("exports/t5", grpc_port=0, rest_port=None) as server:  # doctest: +SKIP
      ...     with PredictionClient(f"localhost:{server.grpc_port}", model_name="t5") as client:
      ...         client.classify(["a charming film"], task_id="film")[0].labels
      ('negative', 'positive')
    """

    def __init__(
        self,
        base_path: str | Path | None = None,
        *,
        model_name: str | None = None,
        grpc_port: int = 8500,
        rest_port: int | None = 8501,
        host: str = "127.0.0.1",
        poll_interval_s: float = 1.0,
        max_workers: int | None = None,
        max_message_bytes: int = 2**31 - 1,
        options: ServingOptions = DEFAULT_OPTIONS,
    ):
        check_interval("poll_interval_s", poll_interval_s)
        self.base_path = None if base_path is None else local_source(base_path, error_type=ServingError).resolve()
        self.model_name = model_name or (self.base_path.name if self.base_path else "")
        self.host, self.grpc_port, self.rest_port = host, grpc_port, rest_port
        self._poll_interval_s, self._max_message_bytes, self._options = poll_interval_s, max_message_bytes, options
        parameters = options.batching_parameters()
        self._max_workers = max_workers or (_WORKERS if parameters is None else _WORKERS_WITH_BATCHING)
        self._scheduler = None if parameters is None else BatchScheduler(parameters)
        self._models = ServedModels(
            scheduler=self._scheduler,
            retries=options.load_retries(),
            allow_unavailable_labels=options.allow_version_labels_for_unavailable_models,
        )
        self._stopping, self._stopped = threading.Event(), threading.Event()
        self._grpc_server: grpc.Server | None = None
        self._rest_server: RestServer | None = None
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Load what is to be served, then listen; wait for models that have no version yet, as TF Serving does.

        Raises:
          ServingError: if no version of a model loads, the config is wrong, a port is taken, or the server is stopped
            while it waits.
        """
        try:
            self._load()
            self._listen()
        except BaseException:  # Ctrl-C too, while it waits
            self.stop()
            raise

    def _listen(self) -> None:
        try:
            self._start_grpc()
            if self.rest_port is not None:
                self._start_rest(self.rest_port)
        except (RuntimeError, OSError) as error:
            raise ServingError(
                f"Ports {self.grpc_port} and {self.rest_port} on {self.host} must be free. Received: {error}."
                " Hint: choose other ports, or 0 for any free one.",
                status="UNAVAILABLE",
            ) from error

    def stop(self, grace_s: float = 5.0) -> None:
        """Refuse new requests, let those under way finish for up to `grace_s` seconds, and free the ports."""
        self._stopping.set()
        if self._grpc_server is not None:
            self._grpc_server.stop(grace_s).wait()
        if self._rest_server is not None:
            self._rest_server.close(grace_s)
        for thread in self._threads:
            thread.join()
        self._models.close()
        if self._scheduler is not None:
            self._scheduler.close()
        self._stopped.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Block until the server is stopped; return whether it is, where `timeout_s` may end the wait before."""
        return self._stopped.wait(timeout_s)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _load(self) -> None:
        if self._options.model_config_file is not None:
            config = ConfigFile(self._options.model_config_file, self._models)
            config.load(is_over=self._stopping.is_set)
            self._start_polling("config", config.poll, self._options.model_config_file_poll_wait_seconds)
        else:
            self._load_directory(check_directory(self.base_path))
        self._start_polling("versions", self._models.poll, self._poll_interval_s)

    def _load_directory(self, base_path: Path) -> None:
        try:
            self._models.configure([ModelSettings(self.model_name, base_path)], is_over=self._stopping.is_set)
        except ServingError as error:
            failures = self._models.failures(self.model_name).items()
            reasons = "; ".join(f"version {version}: {reason}" for version, reason in failures) or "no version"
            raise ServingError(f"The newest version must load. Received: {base_path}: {reasons}") from error

    def _start_grpc(self) -> None:
        # A port that another process serves is an error, not shared.
        options = [
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", self._max_message_bytes),
            ("grpc.so_reuseport", 0),
        ]
        server = grpc.server(futures.ThreadPoolExecutor(self._max_workers), options=options)
        add_services(server, self._models)
        self.grpc_port = server.add_insecure_port(f"{self.host}:{self.grpc_port}")
        server.start()
        self._grpc_server = server

    def _start_rest(self, port: int) -> None:
        limit, enable_cors = self._max_message_bytes, self._options.rest_api_enable_cors_support
        self._rest_server = RestServer(
            functools.partial(answer, self._models),
            host=self.host,
            port=port,
            max_body_bytes=limit,
            enable_cors=enable_cors,
        )
        self.rest_port = self._rest_server.port
        self._rest_server.start()

    def _start_polling(self, name: str, poll: Callable[[], None], interval_s: float) -> None:
        """Look again and again, every `interval_s` seconds; never for 0, as in TF Serving."""

        def poll_until_stopped() -> None:
            while not self._stopping.wait(min(interval_s, threading.TIMEOUT_MAX)):
                poll()

        if interval_s:
            self._start_thread(name, poll_until_stopped)

    def _start_thread(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=f"model-server-{name}", daemon=True)
        thread.start()
        self._threads.append(thread)
