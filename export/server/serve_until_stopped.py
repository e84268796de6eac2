"""Serve until a signal: what `softprompt serve` does, by TF Serving where it is installed, else by the local server."""

import contextlib
import logging
import os
import shlex
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from softprompt_tf.export.server import model_versions
from softprompt_tf.export.server.loaded_version import check_directory
from softprompt_tf.export.server.server import ModelServer
from softprompt_tf.export.server.serving_options import DEFAULT_OPTIONS, ServingOptions
from softprompt_tf.export.versions.version_numbers import find_versions
from softprompt_tf.quiet import environment_of_user

TF_SERVING_BINARY = "tensorflow_model_server"


def serve(
    directory: str | Path | None = None,
    *,
    model_name: str | None = None,
    grpc_port: int = 8500,
    rest_port: int | None = 8501,
    poll_interval_s: float = 1.0,
    options: ServingOptions = DEFAULT_OPTIONS,
) -> None:
    """Serve an export directory, or the models of a config file, until SIGINT or SIGTERM; call from the main thread.

    Where `tensorflow_model_server` is on the PATH, this process becomes that server, with the same ports and options.

    Args:
      directory: what `write_saved_model` wrote to; it has the version directories. None with a config file.
      model_name: default the directory's own name.
      grpc_port: of the gRPC services, 0 for any free one.
      rest_port: of the REST form, 0 for any free one, None for no REST.
      poll_interval_s: seconds between two looks for new versions; 0 means that there is one, at the start.
      options: the model config file, batching, labels and retries.

    Examples:
      >>> from softprompt_tf.export import serve
      >>> serve("exports/t5")  # doctest: +SKIP
    """
    if options.model_config_file is None:
        base_path = check_directory(directory)
        name = model_name or base_path.name
        what, flags = f"model {name} from {base_path}", [f"--model_name={name}", f"--model_base_path={base_path}"]
    else:
        base_path, name, what, flags = None, "", f"the models of {options.model_config_file}", []
    if poll_interval_s != 1:
        whole_s = max(round(poll_interval_s), 1) if poll_interval_s else 0
        flags.append(f"--file_system_poll_wait_seconds={whole_s}")
    binary = shutil.which(TF_SERVING_BINARY)
    if binary is not None:
        ports = [f"--port={grpc_port}", f"--rest_api_port={rest_port or 0}"]
        _become_tf_serving([binary, *ports, *flags, *options.flags()], what)
    settings: dict[str, Any] = {"grpc_port": grpc_port, "rest_port": rest_port, "poll_interval_s": poll_interval_s}
    server = ModelServer(base_path, model_name=name, options=options, **settings)
    print(f"Loading {what}", flush=True)
    if base_path is not None and not find_versions(base_path):
        print(f"Waiting for the first version, such as {base_path / '1'}", flush=True)
    with server, _stop_signals() as received:
        print(f"Serving {what} on {server.host}, by the local model server", flush=True)
        print(f"gRPC: {server.host}:{server.grpc_port}", flush=True)
        if server.rest_port is not None:
            print(f"REST: http://{server.host}:{server.rest_port}/v1/models/{name}", flush=True)
        if name:
            ask = f"softprompt query {server.host}:{server.grpc_port} --model-name {shlex.quote(name)}"
            print(f"Ask it: {ask} --task-id TASK --text TEXT", flush=True)
        with _said_changes():
            received.wait()
    print("Stopped", flush=True)


@contextlib.contextmanager
def _said_changes() -> Iterator[None]:
    """Say on the standard error stream which versions are loaded and let go from now on."""
    log, handler = logging.getLogger(model_versions.__name__), logging.StreamHandler()
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(handler)  # with it, warnings are no longer said by logging's last resort, so they are said once
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def _become_tf_serving(command: list[str], what: str) -> NoReturn:
    print(f"Serving {what} by TF Serving: {' '.join(command)}", flush=True)
    os.execve(command[0], command, environment_of_user())


@contextlib.contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """Give an event that SIGINT and SIGTERM set in place of what they do otherwise."""
    received = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, lambda *_: received.set()) for number in signals}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
