"""Load and run a SavedModel as a model server does, without importing TensorFlow's Python package.

A directory with a SavedModel enters; its signatures and, for numpy inputs, numpy outputs leave. The work is done by
TensorFlow's C++ loader (`LoadSavedModel`, which TF Serving calls too), reached through the C API in the shared
libraries of the installed packages. So a graph that leans on something which only Python provides fails here as it
would fail in the server. Nothing here imports tensorflow, keras or tensorflow_text.
"""

import ctypes
import enum
import functools
import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from numpy.typing import NDArray

from softprompt_tf.errors import VerificationError

SERVE_TAG = b"serve"

# Numbers of the DataType enum, tensorflow/core/framework/types.proto.
_DTYPE_NAMES = {1: "float32", 3: "int32", 7: "string", 9: "int64", 10: "bool"}
_DTYPE_NUMBERS = {name: number for number, name in _DTYPE_NAMES.items()}
_STRING = _DTYPE_NUMBERS["string"]
_TSTRING_BYTES = 24  # sizeof(TF_TString), tensorflow/core/platform/ctstring_internal.h

_Status = enum.IntEnum(
    "_Status",
    "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED "
    "RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS "
    "UNAUTHENTICATED",
    start=0,
)
_STATUS_NAMES = {status.value: status.name for status in _Status}


class TensorSpec(NamedTuple):
    """One input or output of a signature: `name:index` in the graph, dtype name, dims (None = any; None = any rank)."""

    tensor_name: str
    dtype: str
    shape: tuple[int | None, ...] | None


class Signature(NamedTuple):
    """What a signature takes and gives, by the names that a caller uses."""

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]


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
        self._c = _c_api()
        self._graph = self._c.TF_NewGraph()
        self._session: int | None = None
        try:
            self._session, meta_graph = self._load()
            self.signatures = _parse_signatures(meta_graph)
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
        signature = self._signature(signature_name)
        arrays = _check_inputs(signature_name, signature, inputs)
        with ExitStack() as stack:
            # Inputs are freed after the outputs are read: an output that passes an input through shares its strings.
            tensors = [stack.enter_context(_new_tensor(self._c, arrays[name])) for name in signature.inputs]
            results = self._run_graph(signature, tensors)
            for tensor in results:
                stack.callback(self._c.TF_DeleteTensor, tensor)
            values = [_read_tensor(self._c, tensor) for tensor in results]
        return dict(zip(signature.outputs, values, strict=True))

    def close(self) -> None:
        """Free the session and its graph; a second call does nothing."""
        if self._session is not None:
            with _status(self._c, f"The session of {self.directory} cannot be closed") as status:
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
            with _status(self._c, f"A model server cannot load the SavedModel {self.directory}") as status:
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
        with _status(self._c, f"A run of {self.directory} failed") as status:
            self._c.TF_SessionRun(
                *(self._session, None, inputs, values, len(tensors)),
                *(outputs, results, len(outputs), None, 0, None, status),
            )
        return list(results)

    def _endpoints(self, specs: Mapping[str, TensorSpec]) -> "ctypes.Array[_Output]":
        endpoints = (_Output * len(specs))()
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


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."


@contextmanager
def _new_tensor(c: Any, array: NDArray[Any]) -> Iterator[int]:
    """Copy `array` into a new TF_Tensor; free it, and the strings that it owns, at the end."""
    is_string = array.dtype == object
    dims = (ctypes.c_int64 * array.ndim)(*array.shape)
    num_bytes = array.size * _TSTRING_BYTES if is_string else array.nbytes
    dtype = _STRING if is_string else _DTYPE_NUMBERS[array.dtype.name]
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
    if dtype not in _DTYPE_NAMES:
        raise VerificationError(f"An output must be one of {sorted(_DTYPE_NUMBERS)}. Received: DataType {dtype}.")
    shape = tuple(c.TF_Dim(tensor, axis) for axis in range(c.TF_NumDims(tensor)))
    array = np.empty(shape, dtype=object if dtype == _STRING else _DTYPE_NAMES[dtype])
    data = c.TF_TensorData(tensor)
    if dtype == _STRING:
        for index in range(array.size):
            slot = data + index * _TSTRING_BYTES
            array.flat[index] = ctypes.string_at(c.TF_StringGetDataPointer(slot), c.TF_StringGetSize(slot))
    elif array.size:
        ctypes.memmove(array.ctypes.data, data, array.nbytes)
    return array


# === Signatures ===

# The few fields of tensorflow/core/protobuf/meta_graph.proto and framework/tensor_shape.proto that matter here, as
# (name, number, type); "*" = repeated. A map is, on the wire, a repeated entry of key and value.
_MESSAGES = {
    "MetaGraphDef": [("signature_def", 5, "SignatureEntry*")],
    "SignatureEntry": [("key", 1, "string"), ("value", 2, "SignatureDef")],
    "SignatureDef": [("inputs", 1, "TensorEntry*"), ("outputs", 2, "TensorEntry*")],
    "TensorEntry": [("key", 1, "string"), ("value", 2, "TensorInfo")],
    "TensorInfo": [("name", 1, "string"), ("dtype", 2, "int32"), ("tensor_shape", 3, "TensorShape")],
    "TensorShape": [("dim", 2, "Dim*"), ("unknown_rank", 3, "bool")],
    "Dim": [("size", 1, "int64")],
}


def _parse_signatures(meta_graph: bytes) -> dict[str, Signature]:
    message = _meta_graph_class().FromString(meta_graph)
    # "__saved_model_init_op" and its like are the loader's own; nobody can call them.
    entries = [entry for entry in message.signature_def if not entry.key.startswith("__saved_model")]
    return {entry.key: Signature(_specs(entry.value.inputs), _specs(entry.value.outputs)) for entry in entries}


def _specs(entries: Sequence[Any]) -> dict[str, TensorSpec]:
    specs = {}
    for entry in sorted(entries, key=lambda entry: entry.key):
        info = entry.value
        dtype = _DTYPE_NAMES.get(info.dtype, f"DataType {info.dtype}")
        dims = tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)
        specs[entry.key] = TensorSpec(info.name, dtype, None if info.tensor_shape.unknown_rank else dims)
    return specs


@functools.cache
def _meta_graph_class() -> Any:
    # In a pool of its own: the same full names may already be registered by tensorflow or tensorflow-serving-api.
    file = descriptor_pb2.FileDescriptorProto(name="signatures.proto", package="signatures", syntax="proto3")
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for name, number, kind in fields:
            _add_field(message, name=name, number=number, kind=kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("signatures.MetaGraphDef"))


def _add_field(message: descriptor_pb2.DescriptorProto, *, name: str, number: int, kind: str) -> None:
    field = message.field.add(name=name, number=number)
    field.label = field.LABEL_REPEATED if kind.endswith("*") else field.LABEL_OPTIONAL
    if kind.rstrip("*") in _MESSAGES:
        field.type, field.type_name = field.TYPE_MESSAGE, f".signatures.{kind.rstrip('*')}"
        return
    field.type = {
        "string": field.TYPE_STRING,
        "int32": field.TYPE_INT32,
        "int64": field.TYPE_INT64,
        "bool": field.TYPE_BOOL,
    }[kind]


# === The C API ===


class _Output(ctypes.Structure):
    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


class _Buffer(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("length", ctypes.c_size_t), ("deallocator", ctypes.c_void_p)]


_POINTER, _INT, _SIZE, _TEXT = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t, ctypes.c_char_p
_TEXTS, _DIMS, _POINTERS = ctypes.POINTER(_TEXT), ctypes.POINTER(ctypes.c_int64), ctypes.POINTER(_POINTER)
_OUTPUTS, _BUFFER = ctypes.POINTER(_Output), ctypes.POINTER(_Buffer)

# name -> (result, arguments), from tensorflow/c/{c_api,tf_buffer,tf_status,tf_tensor,tf_tstring}.h
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "TF_NewStatus": (_POINTER, []),
    "TF_DeleteStatus": (None, [_POINTER]),
    "TF_GetCode": (_INT, [_POINTER]),
    "TF_Message": (_TEXT, [_POINTER]),
    "TF_LoadLibrary": (_POINTER, [_TEXT, _POINTER]),
    "TF_DeleteLibraryHandle": (None, [_POINTER]),
    "TF_NewBuffer": (_BUFFER, []),
    "TF_DeleteBuffer": (None, [_BUFFER]),
    "TF_NewGraph": (_POINTER, []),
    "TF_DeleteGraph": (None, [_POINTER]),
    "TF_GraphOperationByName": (_POINTER, [_POINTER, _TEXT]),
    "TF_NewSessionOptions": (_POINTER, []),
    "TF_DeleteSessionOptions": (None, [_POINTER]),
    "TF_LoadSessionFromSavedModel": (
        _POINTER,
        [_POINTER, _POINTER, _TEXT, _TEXTS, _INT, _POINTER, _BUFFER, _POINTER],
    ),
    "TF_SessionRun": (
        None,
        [_POINTER, _POINTER, _OUTPUTS, _POINTERS, _INT, _OUTPUTS, _POINTERS, _INT, _POINTERS, _INT, _POINTER, _POINTER],
    ),
    "TF_CloseSession": (None, [_POINTER, _POINTER]),
    "TF_DeleteSession": (None, [_POINTER, _POINTER]),
    "TF_AllocateTensor": (_POINTER, [_INT, _DIMS, _INT, _SIZE]),
    "TF_DeleteTensor": (None, [_POINTER]),
    "TF_TensorType": (_INT, [_POINTER]),
    "TF_NumDims": (_INT, [_POINTER]),
    "TF_Dim": (ctypes.c_int64, [_POINTER, _INT]),
    "TF_TensorData": (_POINTER, [_POINTER]),
    "TF_StringInit": (None, [_POINTER]),
    "TF_StringCopy": (None, [_POINTER, _TEXT, _SIZE]),
    "TF_StringDealloc": (None, [_POINTER]),
    "TF_StringGetDataPointer": (_POINTER, [_POINTER]),
    "TF_StringGetSize": (_SIZE, [_POINTER]),
}


@functools.cache
def _c_api() -> ctypes.CDLL:
    """Return the C API with every op registered: TensorFlow's own and tensorflow_text's."""
    tensorflow, tensorflow_text = _package_directory("tensorflow"), _package_directory("tensorflow_text")
    try:
        # Global, because tensorflow_text's libraries look their symbols up in these two.
        ctypes.CDLL(str(tensorflow / "libtensorflow_framework.so.2"), mode=ctypes.RTLD_GLOBAL)
        c = ctypes.CDLL(str(tensorflow / "libtensorflow_cc.so.2"), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise VerificationError(f"TensorFlow's C libraries cannot be loaded. Received: {error}.") from error
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(c, name)
        function.restype, function.argtypes = result, arguments
    # core/pybinds/ holds extension modules of Python, which register no op.
    for library in sorted((tensorflow_text / "python").rglob("*.so")):
        with _status(c, f"{library} cannot be loaded") as status:
            handle = c.TF_LoadLibrary(os.fsencode(library), status)
        c.TF_DeleteLibraryHandle(handle)  # the handle only; the library stays
    return c


def _package_directory(name: str) -> Path:
    spec = importlib.util.find_spec(name)  # a top-level name is found without importing it
    if spec is None or not spec.submodule_search_locations:
        raise VerificationError(
            f"Loading a SavedModel needs the package {name}. Received: no such package is installed."
        )
    return Path(spec.submodule_search_locations[0])


@contextmanager
def _status(c: Any, rule: str) -> Iterator[int]:
    """Give a TF_Status to the calls in the block; raise `rule` with its code and message if it is not OK after them."""
    status = c.TF_NewStatus()
    try:
        yield status
        code = c.TF_GetCode(status)
        if code:
            message = c.TF_Message(status).decode(errors="replace")
            name = _STATUS_NAMES.get(code, f"code {code}")
            raise VerificationError(f"{rule}. Received: {name}: {message}")
    finally:
        c.TF_DeleteStatus(status)
