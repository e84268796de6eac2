"""`softprompt query`: ask a model server, and print one JSON line per text or per task. TensorFlow is not needed."""

import argparse
from dataclasses import asdict
from pathlib import Path

from softprompt_tf.errors import ConfigError
from softprompt_tf.files.json_lines import json_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command; those of TLS have the names that `tls_credentials` gives them, with hyphens."""
    parser.add_argument("target", metavar="HOST:PORT", help="the server's gRPC address, such as 127.0.0.1:8500")
    parser.add_argument(
        "--model-name", required=True, help="the model's name; `softprompt serve` gives it the name of the directory"
    )
    parser.add_argument("--task-id", help="the task whose prompt answers; `--list` shows them")
    parser.add_argument("--text", action="append", help="a text; may be given several times")
    parser.add_argument(
        "--list", action="store_true", help="ask for no answer, but for the server's tasks, one line for each"
    )
    parser.add_argument(
        "--classify", action="store_true", help="answer with the most likely label instead of generated text"
    )
    parser.add_argument(
        "--timeout", type=float, default=30.0, help="seconds for a request with all its retries; default: 30"
    )
    parser.add_argument(
        "--attempt-timeout", type=float, help="seconds for one attempt; after that the request is sent again"
    )
    parser.add_argument("--tls", action="store_true", help="use TLS, and trust the authorities that gRPC has")
    parser.add_argument(
        "--root-certificates", type=Path, metavar="FILE", help="TLS: PEM file of the authorities to trust"
    )
    parser.add_argument("--client-key", type=Path, metavar="FILE", help="mutual TLS: PEM file of this client's key")
    parser.add_argument(
        "--client-certificate", type=Path, metavar="FILE", help="mutual TLS: PEM file of its certificate"
    )


def run(arguments: argparse.Namespace) -> None:
    """Ask, and print one line per text, or per task with --list.

    Raises:
      ConfigError: if an option is missing or out of range, or a certificate file cannot be used.
      ServingError: if the server does not answer, or not all rows.
    """
    _check_target(arguments.target)
    _check_question(arguments)
    from softprompt_tf.export.client.client import PredictionClient
    from softprompt_tf.export.client.client_options import tls_credentials

    files = {name: getattr(arguments, name) for name in ("root_certificates", "client_key", "client_certificate")}
    is_tls = arguments.tls or any(path is not None for path in files.values())
    with PredictionClient(
        arguments.target,
        model_name=arguments.model_name,
        credentials=tls_credentials(**files) if is_tls else None,
        timeout_s=arguments.timeout,
        attempt_timeout_s=arguments.attempt_timeout,
    ) as client:
        if arguments.list:
            for task in client.tasks():
                print(json_line(asdict(task)))
            return
        ask = client.classify if arguments.classify else client.generate
        for text, answer in zip(arguments.text, ask(arguments.text, task_id=arguments.task_id), strict=True):
            print(json_line({"inputs": text, **asdict(answer)}))


def _check_question(arguments: argparse.Namespace) -> None:
    given = [name for name in ("task_id", "text", "classify") if getattr(arguments, name)]
    fits = not given if arguments.list else {"task_id", "text"} <= set(given)
    if not fits:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in (["list"] if arguments.list else []) + given)
        raise ConfigError(
            "`query` takes --task-id and --text, or --list alone, which shows the server's tasks. "
            f"Received: {options or 'none of them'}."
        )


def _check_target(target: str) -> None:
    """Refuse what is no gRPC address: gRPC would look for a host of that name, or try port 443."""
    scheme, is_url, _ = target.partition("://")
    if is_url and scheme in ("http", "https"):
        raise ConfigError(
            f"The server's address must be HOST:PORT, its gRPC port. Received: {target}. Leave out `{scheme}://`"
            " (`--tls` asks for TLS), and name the gRPC port instead of the REST port."
        )
    if ":" not in target:
        raise ConfigError(f"The server's address must be HOST:PORT. Received: {target}. Did you mean `{target}:8500`?")
