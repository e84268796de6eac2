"""Load and run a SavedModel as a model server does, without importing TensorFlow's Python package.

A directory with a SavedModel enters; its signatures and, for numpy inputs, numpy outputs leave. The work is done by
TensorFlow's C++ loader (`LoadSavedModel`, which TF Serving calls too), reached through the C API in the shared
libraries of the installed packages. So a graph that leans on something which only Python provides fails here as it
would fail in the server. Nothing here imports tensorflow, keras or tensorflow_text.
"""

import ctypes
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from softprompt_tf.errors import VerificationError
from softprompt_tf.export.session.c_api import Output, checked_status, load_c_api
from softprompt_tf.export.session.signatures import DTYPE_NAMES, DTYPE_NUMBERS, Signature, TensorSpec, parse_signatures

SERVE_TAG = b"serve"

_STRING = DTYPE_NUMBERS["string"]
_TSTRING_BYTES = 24  # sizeof(TF_TString), tensorflow/core/platform/ctstring_internal.h


class SavedModelSession:
    """A SavedModel, loaded with the tag "serve" and ready to run.

    Loading restores the variables and runs the initialisers of lookup tables. Use it as a context manager, or call
    `close`, to give the memory back.

    Args:
      directory: the SavedModel's directory, the one that holds `saved_model.pb`.

    Attributes:
      signatures: name -> Signature, as the server would offer them.

    Raises:
      VerificationError: if a library or the SavedModel cannot be loaded; the message has the status' name.

    Example:
      with SavedModelSession("exports/t5/1") as session:
          session.run("serving_default", {"task_id": [b"sst2"], "text": [b"a charming film"]})["output"]
    """

    def __init__(self, directory: str | os.PathLike[str]):
        self.directory = Path(directory)
        self._c = load_c_api()
        self._graph = self._c.TF_NewGraph()
        self._session: int | None = None
        try:
            self._session, meta_graph = self._load()
            self.signatures = parse_signatures(meta_graph)
        except BaseException:
            self.close()
            raise

    def run(self, signature_name: str, inputs: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Run one signature.

        Args:
          signature_name: a key of `signatures`.
          inputs: for every input of the signature an array of exactly its dtype; for strings a (nested) list of bytes
            or str, or an array of them. Shapes are the graph's to check, as in the server.

        Returns:
          The array of every output; strings as an object array of bytes.

        Raises:
          VerificationError: if the signature or an input does not fit, or the run fails.
        """
        arrays = _check_inputs(signature_name, self._signature(signature_name), inputs)
        return self.run_unchecked(
            signature_name, {name: (array, _dtype_number(array)) for name, array in arrays.items()}
        )

    def run_unchecked(
        self, signature_name: str, inputs: Mapping[str, tuple[NDArray[Any], int]]
    ) -> dict[str, NDArray[Any]]:
        """Run one signature on tensors that nobody has looked at, so that the graph itself refuses what is wrong.

        Args:
          signature_name: a key of `signatures`.
          inputs: for every input of the signature an array and the number of its dtype; strings are an object array.

        Returns:
          The array of every output; strings as an object array of bytes.

        Raises:
          VerificationError: with TensorFlow's status and reason, if the run fails.
        """
        signature = self._signature(signature_name)
        with ExitStack() as stack:
            # Inputs are freed after the outputs are read: an output that passes an input through shares its strings.
            tensors = [stack.enter_context(_new_tensor(self._c, *inputs[name])) for name in signature.inputs]
            results = self._run_graph(signature, tensors)
            for tensor in results:
                stack.callback(self._c.TF_DeleteTensor, tensor)
            values = [_read_tensor(self._c, tensor) for tensor in results]
        return dict(zip(signature.outputs, values, strict=True))

    def close(self) -> None:
        """Free the session and its graph; a second call does nothing."""
        if self._session is not None:
            with checked_status(self._c, f"The session of {self.directory} cannot be closed") as status:
                self._c.TF_CloseSession(self._session, status)
                self._c.TF_DeleteSession(self._session, status)
                self._session = None
        if self._graph is not None:
            self._c.TF_DeleteGraph(self._graph)
            self._graph = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _load(self) -> tuple[int, bytes]:
        options, meta_graph = self._c.TF_NewSessionOptions(), self._c.TF_NewBuffer()
        try:
            with checked_status(self._c, f"A model server cannot load the SavedModel {self.directory}") as status:
                tags = (ctypes.c_char_p * 1)(SERVE_TAG)
                session = self._c.TF_LoadSessionFromSavedModel(
                    options, None, os.fsencode(self.directory), tags, 1, self._graph, meta_graph, status
                )
            return session, ctypes.string_at(meta_graph.contents.data, meta_graph.contents.length)
        finally:
            self._c.TF_DeleteBuffer(meta_graph)
            self._c.TF_DeleteSessionOptions(options)

    def _signature(self, name: str) -> Signature:
        if self._session is None:
            raise VerificationError(f"A closed session cannot run. Received: {name!r} of {self.directory}.")
        if name not in self.signatures:
            raise VerificationError(
                f"The SavedModel has no such signature. Received: {name!r}. It has: {', '.join(sorted(self.signatures))}."
            )
        return self.signatures[name]

    def _run_graph(self, signature: Signature, tensors: list[int]) -> list[int]:
        inputs, outputs = self._endpoints(signature.inputs), self._endpoints(signature.outputs)
        results = (ctypes.c_void_p * len(outputs))()
        values = (ctypes.c_void_p * len(tensors))(*tensors)
        with checked_status(self._c, f"A run of {self.directory} failed") as status:
            self._c.TF_SessionRun(
                *(self._session, None, inputs, values, len(tensors)),
                *(outputs, results, len(outputs), None, 0, None, status),
            )
        return list(results)

    def _endpoints(self, specs: Mapping[str, TensorSpec]) -> "ctypes.Array[Output]":
        endpoints = (Output * len(specs))()
        for endpoint, (name, spec) in zip(endpoints, specs.items(), strict=True):
            operation, _, index = spec.tensor_name.partition(":")
            endpoint.operation = self._c.TF_GraphOperationByName(self._graph, operation.encode())
            endpoint.index = int(index or 0)
            if endpoint.operation is None:
                raise VerificationError(f"{name!r} must name a dense tensor. Received: {spec.tensor_name!r}.")
        return endpoints


# === Arrays and tensors ===


def _check_inputs(signature_name: str, signature: Signature, inputs: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    if set(inputs) != set(signature.inputs):
        raise VerificationError(
            f"{signature_name!r} takes exactly the inputs {sorted(signature.inputs)}. Received: {sorted(inputs)}."
        )
    return {name: _as_array(name, spec, inputs[name]) for name, spec in signature.inputs.items()}


def _as_array(name: str, spec: TensorSpec, value: Any) -> NDArray[Any]:
    if spec.dtype == "string":
        array = np.asarray(value, dtype=object)  # not "S": numpy would drop a string's trailing zero bytes
        if all(isinstance(item, bytes | str) for item in array.flat):
            return array
        raise VerificationError(f"Input {name!r} must hold bytes or str only. Received: {_brief(value)}.")
    array = np.asarray(value)
    if array.dtype.name != spec.dtype:
        raise VerificationError(
            f"Input {name!r} must be {spec.dtype}. Received: {array.dtype.name}. Pass a numpy array of that dtype."
        )
    return np.ascontiguousarray(array).reshape(array.shape)  # ascontiguousarray makes a scalar one-dimensional


def _dtype_number(array: NDArray[Any]) -> int:
    return _STRING if array.dtype == object else DTYPE_NUMBERS[array.dtype.name]


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."


@contextmanager
def _new_tensor(c: Any, array: NDArray[Any], dtype: int) -> Iterator[int]:
    """Copy `array` into a new TF_Tensor; free it, and the strings that it owns, at the end."""
    is_string = array.dtype == object
    dims = (ctypes.c_int64 * array.ndim)(*array.shape)
    num_bytes = array.size * _TSTRING_BYTES if is_string else array.nbytes
    tensor = c.TF_AllocateTensor(dtype, dims, array.ndim, num_bytes)
    data = c.TF_TensorData(tensor)
    slots = range(data, data + num_bytes, _TSTRING_BYTES) if is_string and num_bytes else range(0)
    try:
        for slot, item in zip(slots, array.flat, strict=False):
            text = item.encode() if isinstance(item, str) else item
            c.TF_StringInit(slot)
            c.TF_StringCopy(slot, text, len(text))
        if num_bytes and not is_string:
            ctypes.memmove(data, array.ctypes.data, num_bytes)
        yield tensor
    finally:
        for slot in slots:
            c.TF_StringDealloc(slot)
        c.TF_DeleteTensor(tensor)


def _read_tensor(c: Any, tensor: int) -> NDArray[Any]:
    """Copy a TF_Tensor into an array; its strings stay its own."""
    dtype = c.TF_TensorType(tensor)
    if dtype not in DTYPE_NAMES:
        raise VerificationError(f"An output must be one of {sorted(DTYPE_NUMBERS)}. Received: DataType {dtype}.")
    shape = tuple(c.TF_Dim(tensor, axis) for axis in range(c.TF_NumDims(tensor)))
    array = np.empty(shape, dtype=object if dtype == _STRING else DTYPE_NAMES[dtype])
    data = c.TF_TensorData(tensor)
    if dtype == _STRING:
        for index in range(array.size):
            slot = data + index * _TSTRING_BYTES
            array.flat[index] = ctypes.string_at(c.TF_StringGetDataPointer(slot), c.TF_StringGetSize(slot))
    elif array.size:
        ctypes.memmove(array.ctypes.data, data, array.nbytes)
    return array
