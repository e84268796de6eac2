"""`softprompt serve`: its arguments in, a running model server out."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command; the names of those that TF Serving has are TF Serving's, with hyphens."""
    parser.add_argument(
        "directory",
        nargs="?",
        help="the base directory, whose sub-directories are the versions; or --model-config-file",
    )
    parser.add_argument("--model-name", help="default: the directory's name")
    parser.add_argument("--grpc-port", type=int, default=8500)
    parser.add_argument("--rest-port", type=int, default=8501)
    parser.add_argument(
        "--model-config-file", type=Path, metavar="FILE", help="models, version policies and labels, as text protobuf"
    )
    parser.add_argument(
        "--model-config-file-poll-wait-seconds", type=int, default=0, metavar="N", help="0: read that file once"
    )
    parser.add_argument("--enable-batching", action="store_true", help="merge concurrent requests into one run")
    parser.add_argument("--batching-parameters-file", type=Path, metavar="FILE", help="how, as text protobuf")
    parser.add_argument(
        "--allow-version-labels-for-unavailable-models",
        action="store_true",
        help="labels in the first config need this: nothing is loaded yet when it is read",
    )
    parser.add_argument(
        "--file-system-poll-wait-seconds", type=int, default=1, metavar="N", help="between two looks for new versions"
    )


def run(arguments: argparse.Namespace) -> None:
    """Serve until SIGINT or SIGTERM."""
    from softprompt_tf.export.server import serve
    from softprompt_tf.export.serving_options import ServingOptions

    serve(
        arguments.directory,
        model_name=arguments.model_name,
        grpc_port=arguments.grpc_port,
        rest_port=arguments.rest_port,
        poll_interval_s=arguments.file_system_poll_wait_seconds,
        options=ServingOptions(
            model_config_file=arguments.model_config_file,
            model_config_file_poll_wait_seconds=arguments.model_config_file_poll_wait_seconds,
            enable_batching=arguments.enable_batching,
            batching_parameters_file=arguments.batching_parameters_file,
            allow_version_labels_for_unavailable_models=arguments.allow_version_labels_for_unavailable_models,
        ),
    )
