"""TensorFlow's C API through ctypes: the functions that a session loader needs, with every op registered.

The libraries are found and loaded without importing the Python packages that they lie in.
"""

import ctypes
import enum
import functools
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from softprompt_tf.errors import VerificationError

_Status = enum.IntEnum(
    "_Status",
    "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED "
    "RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS "
    "UNAUTHENTICATED",
    start=0,
)
_STATUS_NAMES = {status.value: status.name for status in _Status}


class Output(ctypes.Structure):
    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


class Buffer(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("length", ctypes.c_size_t), ("deallocator", ctypes.c_void_p)]


_POINTER, _INT, _SIZE, _TEXT = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t, ctypes.c_char_p
_TEXTS, _DIMS, _POINTERS = ctypes.POINTER(_TEXT), ctypes.POINTER(ctypes.c_int64), ctypes.POINTER(_POINTER)
_OUTPUTS, _BUFFER = ctypes.POINTER(Output), ctypes.POINTER(Buffer)

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
def load_c_api() -> ctypes.CDLL:
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
        with checked_status(c, f"{library} cannot be loaded") as status:
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
def checked_status(c: Any, rule: str) -> Iterator[int]:
    """Give a TF_Status to the calls in the block; raise `rule` with its code and message if it is not OK after them."""
    status = c.TF_NewStatus()
    try:
        yield status
        code = c.TF_GetCode(status)
        if code:
            message = c.TF_Message(status).decode(errors="replace")
            name = _STATUS_NAMES.get(code, f"code {code}")
            raise VerificationError(f"{rule}. Received: {name}: {message}", status=name, reason=message)
    finally:
        c.TF_DeleteStatus(status)
