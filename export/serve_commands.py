"""`softprompt serve`: start a model server on this machine."""

import argparse
import socket
from pathlib import Path

from softprompt_tf.errors import ConfigError
from softprompt_tf.files.local_paths import local_source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command; the names of those that TF Serving has are TF Serving's, with hyphens."""
    parser.add_argument(
        "directory",
        nargs="?",
        help="an export: the directory that has the versions, such as exports/t5. Or use --model-config-file",
    )
    parser.add_argument("--model-name", help="default: the directory's name")
    parser.add_argument("--grpc-port", type=int, default=8500, help="gRPC port; 0 takes any free one")
    parser.add_argument("--rest-port", type=int, default=8501, help="REST port; 0 takes any free one")
    parser.add_argument(
        "--model-config-file", type=Path, metavar="FILE", help="models, version policies and labels, as text protobuf"
    )
    parser.add_argument(
        "--model-config-file-poll-wait-seconds",
        type=int,
        default=0,
        metavar="N",
        help="read that file again every N seconds; 0 reads it once",
    )
    parser.add_argument("--enable-batching", action="store_true", help="merge concurrent requests into one run")
    parser.add_argument(
        "--batching-parameters-file", type=Path, metavar="FILE", help="how requests are merged, as text protobuf"
    )
    parser.add_argument(
        "--allow-version-labels-for-unavailable-models",
        action="store_true",
        help="allow labels in the first config, when no version is loaded yet",
    )
    parser.add_argument(
        "--rest-api-enable-cors-support",
        action="store_true",
        help="let web pages of other origins ask over REST",
    )
    parser.add_argument(
        "--file-system-poll-wait-seconds",
        type=int,
        default=1,
        metavar="N",
        help="look for new versions every N seconds; 0 looks once",
    )


def run(arguments: argparse.Namespace) -> None:
    """Serve until SIGINT or SIGTERM."""
    _check(arguments)
    from softprompt_tf.export.server.serving_options import ServingOptions

    options = ServingOptions(
        model_config_file=arguments.model_config_file,
        model_config_file_poll_wait_seconds=arguments.model_config_file_poll_wait_seconds,
        enable_batching=arguments.enable_batching,
        batching_parameters_file=arguments.batching_parameters_file,
        allow_version_labels_for_unavailable_models=arguments.allow_version_labels_for_unavailable_models,
        rest_api_enable_cors_support=arguments.rest_api_enable_cors_support,
    )
    from softprompt_tf.export.server.serve_until_stopped import serve

    serve(
        arguments.directory,
        model_name=arguments.model_name,
        grpc_port=arguments.grpc_port,
        rest_port=arguments.rest_port,
        poll_interval_s=arguments.file_system_poll_wait_seconds,
        options=options,
    )


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what is wrong in the arguments and their files before TensorFlow is loaded, which takes seconds.

    Raises:
      ConfigError: for a port, a wait, or a remote directory.
      ServingError: for a file, as the server would.
    """
    from softprompt_tf.export.server.batching_parameters import read_batching_parameters
    from softprompt_tf.export.server.model_config import read_model_config_file

    ports = {"--grpc-port": arguments.grpc_port, "--rest-port": arguments.rest_port}
    for name, port in ports.items():
        if not 0 <= port < 65_536:
            raise ConfigError(f"`{name}` must be a port from 0 to 65535. Received: {port}.")
    if arguments.grpc_port == arguments.rest_port != 0:
        raise ConfigError(f"`--grpc-port` and `--rest-port` must differ. Received: {arguments.grpc_port} for both.")
    for name in ("file_system_poll_wait_seconds", "model_config_file_poll_wait_seconds"):
        if getattr(arguments, name) < 0:
            option = f"--{name.replace('_', '-')}"
            raise ConfigError(f"`{option}` must be 0 or more. Received: {getattr(arguments, name)}.")
    if arguments.directory is not None and not local_source(arguments.directory, error_type=ConfigError).is_dir():
        raise ConfigError(f"The directory to serve must exist. Received: {arguments.directory}.")
    if arguments.batching_parameters_file is not None:
        read_batching_parameters(arguments.batching_parameters_file)
    if arguments.model_config_file is not None:
        read_model_config_file(arguments.model_config_file)
    for name, port in ports.items():
        if port and _has_versions(arguments) and not _is_free(port):
            raise ConfigError(
                f"`{name}` must be a free port. Received: {port}, which another process uses. Name another."
            )


def _has_versions(arguments: argparse.Namespace) -> bool:
    """Say whether there may be something to serve; where there is not, the server's own message is the one that helps."""
    from softprompt_tf.export.versions.version_numbers import find_versions

    return arguments.model_config_file is not None or bool(find_versions(Path(arguments.directory or ".")))


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            return True  # the server says so itself
        except OSError:
            return False
    return True
