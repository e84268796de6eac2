"""Run requests on a SavedModel in a process of its own.

A SavedModel's directory and a list of requests enter; the outputs of each request leave, as a server that knows
nothing of the Python code that wrote the model would compute them. A crash of the loader (it is C++) kills that
process only, and comes back as an error.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softprompt_tf.errors import VerificationError
from softprompt_tf.export.session.session_worker import decode_tensor, encode_tensor

_MAX_STDERR_LINES = 20
# Of the default limit, which is there for a process that hangs: a large T5 may come from a slow disk, on a busy machine.
_LEAST_S = 300.0
_SLOWEST_BYTES_PER_S = 10e6
_WITHOUT = "`verify=False`, in the command line `--no-verify`, leaves this check out."


def run_in_process(
    directory: str | os.PathLike[str], requests: Sequence[Mapping[str, Any]], *, timeout_s: float | None = None
) -> list[dict[str, NDArray[Any]]]:
    """Load a SavedModel in a fresh process without TensorFlow's Python packages, and run requests on it.

    The process sees no GPU: the caller's TensorFlow holds that memory already.

    Args:
      directory: the directory that holds `saved_model.pb`.
      requests: each a mapping with `signature`, a name, and `inputs`, name -> array or list; strings as bytes or str,
        numbers as numpy arrays of exactly the input's dtype.
      timeout_s: the time for loading and all requests, in seconds. Default: 300, and 100 more for each GB of the model.

    Returns:
      For each request its outputs by name; strings as object arrays of bytes.

    Raises:
      VerificationError: if the process fails, crashes or takes too long; the message ends with its last words.
    """
    asked = [{"signature": request["signature"], "inputs": _encode_inputs(request["inputs"])} for request in requests]
    with tempfile.TemporaryDirectory(prefix="softprompt_tf_") as scratch:
        requests_path, out_path = Path(scratch, "requests.json"), Path(scratch, "out.json")
        requests_path.write_text(json.dumps(asked))
        _run_worker(
            [os.fspath(directory), str(requests_path), str(out_path)],
            timeout_s=limit_of(directory) if timeout_s is None else timeout_s,
        )
        answers = json.loads(out_path.read_text())
    return [{name: decode_tensor(tensor) for name, tensor in answer.items()} for answer in answers]


def limit_of(directory: str | os.PathLike[str]) -> float:
    """Return how many seconds a SavedModel may take to load and to answer; more, the larger its files are."""
    num_bytes = sum(path.stat().st_size for path in Path(directory).rglob("*") if path.is_file())
    return _LEAST_S + num_bytes / _SLOWEST_BYTES_PER_S


def _encode_inputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: encode_tensor(_as_array(value)) for name, value in inputs.items()}


def _as_array(value: Any) -> NDArray[Any]:
    array = np.asarray(value)
    # Through "S", numpy would drop a string's trailing zero bytes.
    return np.asarray(value, dtype=object) if array.dtype.kind in "SU" else array


def _run_worker(arguments: list[str], *, timeout_s: float) -> None:
    # -P: a file in the working directory must not stand in for a module.
    command = [sys.executable, "-P", "-m", "softprompt_tf.export.session.session_worker", *arguments]
    environment = {"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    rule = f"A fresh process must load {arguments[0]} and answer"
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise VerificationError(f"{rule}. Received: no answer in {timeout_s:g} s. {_WITHOUT}") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()[-_MAX_STDERR_LINES:]
        raise VerificationError("\n".join([f"{rule}. Received: {_exit_reason(done.returncode)}", *lines]))


def _exit_reason(returncode: int) -> str:
    if returncode > 0:
        return f"exit status {returncode}."
    name = signal.Signals(-returncode).name
    if name != "SIGKILL":
        return f"death by {name}."
    return (
        "death by SIGKILL, as the system ends a process where memory is short: the model is in memory once more. Make room. "
        + _WITHOUT
    )
