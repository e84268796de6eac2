"""Run requests on a SavedModel in a process that never imports TensorFlow's or Keras' Python packages.

    python -m softprompt_tf.export.session.session_worker DIRECTORY REQUESTS.json OUT.json

A SavedModel's directory and a JSON list of requests enter; a JSON list with the outputs of each request leaves:

    requests: [{"signature": "serving_default", "inputs": {"text": TENSOR, ...}}, ...]
    outputs:  [{"output": TENSOR, "score": TENSOR, ...}, ...]
    TENSOR:   {"dtype": "float32", "shape": [2], "values": [0.5, -Infinity]}      values in row-major order

A string that is not UTF-8 is written as {"b64": "..."}, as in TF Serving's REST API. Floats keep every bit.
"""

import argparse
import base64
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softprompt_tf.errors import VerificationError
from softprompt_tf.export.session.session_loader import SavedModelSession

# A process that has imported one of these says nothing about a server, which has none of them.
FORBIDDEN_MODULES = ("tensorflow", "keras", "tensorflow_text")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the worker; return its exit status: 0 = every request answered, 1 = the last line of stderr says what failed."""
    parser = argparse.ArgumentParser(prog="python -m softprompt_tf.export.session.session_worker", description=__doc__)
    parser.add_argument("directory", type=Path, help="the directory that holds saved_model.pb")
    parser.add_argument("requests", type=Path, help="a JSON file with the list of requests")
    parser.add_argument("out", type=Path, help="the JSON file to write")
    options = parser.parse_args(arguments)
    try:
        answer_requests(options.directory, options.requests, out=options.out)
    except VerificationError as error:
        print(f"VerificationError: {error}", file=sys.stderr)
        return 1
    return 0


def answer_requests(directory: Path, requests: Path, *, out: Path) -> None:
    """Load the SavedModel, run the requests in order and write their outputs.

    Args:
      directory: the SavedModel.
      requests: a JSON file, in the form that the module's docstring gives.
      out: the JSON file to write; written only if all requests succeed.

    Raises:
      VerificationError: if the model or a request fails, or if a package that a server lacks was imported.
    """
    asked = json.loads(requests.read_text())
    with SavedModelSession(directory) as session:
        answers = [_answer(session, index=index, request=request) for index, request in enumerate(asked)]
    check_modules()
    out.write_text(json.dumps(answers))


def check_modules() -> None:
    """Raise VerificationError if this process has imported what a model server does not have."""
    imported = [name for name in FORBIDDEN_MODULES if name in sys.modules]
    if imported:
        raise VerificationError(
            f"The process must import none of {', '.join(FORBIDDEN_MODULES)}. Received: {imported}."
        )


def encode_tensor(array: NDArray[Any]) -> dict[str, Any]:
    """Return the JSON form of an array; an object array holds bytes or str."""
    if array.dtype == object:
        return {"dtype": "string", "shape": list(array.shape), "values": [_encode_string(item) for item in array.flat]}
    return {"dtype": array.dtype.name, "shape": list(array.shape), "values": array.ravel().tolist()}


def decode_tensor(tensor: dict[str, Any]) -> NDArray[Any]:
    """Return the array of a JSON form; strings as an object array of bytes."""
    shape = tuple(tensor["shape"])
    if tensor["dtype"] != "string":
        return np.array(tensor["values"], dtype=tensor["dtype"]).reshape(shape)
    array = np.empty(len(tensor["values"]), dtype=object)
    array[:] = [_decode_string(item) for item in tensor["values"]]
    return array.reshape(shape)


def _answer(session: SavedModelSession, *, index: int, request: dict[str, Any]) -> dict[str, Any]:
    inputs = {name: decode_tensor(tensor) for name, tensor in request["inputs"].items()}
    try:
        outputs = session.run(request["signature"], inputs)
    except VerificationError as error:
        raise VerificationError(f"Request {index}: {error}") from error
    return {name: encode_tensor(array) for name, array in outputs.items()}


def _encode_string(item: bytes | str) -> str | dict[str, str]:
    if isinstance(item, str):
        return item
    try:
        return item.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(item).decode()}


def _decode_string(item: str | dict[str, str]) -> bytes:
    return item.encode() if isinstance(item, str) else base64.b64decode(item["b64"])


if __name__ == "__main__":
    sys.exit(main())
