"""Encode and decode TF Serving's messages without TensorFlow or NumPy.

The generated classes of `tensorflow_serving.apis` import all of TensorFlow. These are copies of the fields that a
client needs, with the same field numbers and types, so the bytes are the same. They live in a descriptor pool of their
own, so a process may load both kinds. Enumerations are plain integers here, which are the same bytes.

Source: tensorflow/serving tensorflow_serving/apis/{model,predict,get_model_status,get_model_metadata}.proto and
tensorflow/tensorflow tensorflow/core/framework/{tensor,tensor_shape}.proto, core/protobuf/meta_graph.proto (the field numbers).
"""

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from softprompt_tf.errors import DataError
from softprompt_tf.shown_numbers import counted

if TYPE_CHECKING:
    import numpy as np

TensorMessage: TypeAlias = Any  # a TensorProto of this module or of TensorFlow: both have the same fields

# Type enumeration of tensorflow/core/framework/types.proto.
DT_FLOAT, DT_DOUBLE, DT_INT32, DT_STRING, DT_INT64, DT_BOOL = 1, 2, 3, 7, 9, 10

# ModelVersionStatus.State of get_model_status.proto.
VERSION_STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}

_PACKAGE = "softprompt_tf.wire"
_MOST_VALUES = 2**26  # of a tensor that is read: a few bytes can ask for any number of them

# One line a field: number, name, type ("map X" is a map from string to X), and the oneof that it belongs to, if any.
_MESSAGES = {
    "Int64Value": ["1 value int64"],
    "TensorShapeDim": ["1 size int64", "2 name string"],
    "TensorShapeProto": ["2 dim repeated TensorShapeDim", "3 unknown_rank bool"],
    "TensorProto": [
        "1 dtype int32",
        "2 tensor_shape TensorShapeProto",
        "4 tensor_content bytes",
        "5 float_val repeated float",
        "6 double_val repeated double",
        "7 int_val repeated int32",
        "8 string_val repeated bytes",
        "10 int64_val repeated int64",
        "11 bool_val repeated bool",
    ],
    "ModelSpec": [
        "1 name string",
        "2 version Int64Value oneof",
        "3 signature_name string",
        "4 version_label string oneof",
    ],
    "PredictRequest": ["1 model_spec ModelSpec", "2 inputs map TensorProto", "3 output_filter repeated string"],
    "PredictResponse": ["1 outputs map TensorProto", "2 model_spec ModelSpec"],
    "StatusProto": ["1 error_code int32", "2 error_message string"],
    "ModelVersionStatus": ["1 version int64", "2 state int32", "3 status StatusProto"],
    "GetModelStatusRequest": ["1 model_spec ModelSpec"],
    "GetModelStatusResponse": ["1 model_version_status repeated ModelVersionStatus"],
    "Any": ["1 type_url string", "2 value bytes"],
    "GetModelMetadataRequest": ["1 model_spec ModelSpec", "2 metadata_field repeated string"],
    "GetModelMetadataResponse": ["1 model_spec ModelSpec", "2 metadata map Any"],
    "TensorInfo": ["1 name string", "2 dtype int32", "3 tensor_shape TensorShapeProto"],
    "SignatureDef": ["1 inputs map TensorInfo"],
    "SignatureDefMap": ["1 signature_def map SignatureDef"],
}

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = frozenset(_Field.Type.keys())


def _add_field(message: descriptor_pb2.DescriptorProto, line: str) -> None:
    number, name, *words = line.split()
    field = message.field.add(name=name, number=int(number), label=_Field.LABEL_OPTIONAL)
    if words[0] == "map":
        entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        _add_field(entry, "1 key string")
        _add_field(entry, f"2 value {words[1]}")
        words = ["repeated", f"{message.name}.{entry.name}"]
    if words[0] == "repeated":
        field.label = _Field.LABEL_REPEATED
        words = words[1:]
    if words[-1] == "oneof":
        field.oneof_index = 0
    scalar = f"TYPE_{words[0].upper()}"
    if scalar in _SCALARS:
        field.type = _Field.Type.Value(scalar)
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{words[0]}"


def _build_messages() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="softprompt_tf_wire.proto", package=_PACKAGE, syntax="proto3")
    for name, lines in _MESSAGES.items():
        message = file.message_type.add(name=name)
        if any(line.endswith(" oneof") for line in lines):
            message.oneof_decl.add(name="choice")
        for line in lines:
            _add_field(message, line)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES
    }


_CLASSES = _build_messages()
TensorProto: Any = _CLASSES["TensorProto"]
ModelSpec: Any = _CLASSES["ModelSpec"]
PredictRequest: Any = _CLASSES["PredictRequest"]
PredictResponse: Any = _CLASSES["PredictResponse"]
GetModelStatusRequest: Any = _CLASSES["GetModelStatusRequest"]
GetModelStatusResponse: Any = _CLASSES["GetModelStatusResponse"]
GetModelMetadataRequest: Any = _CLASSES["GetModelMetadataRequest"]
GetModelMetadataResponse: Any = _CLASSES["GetModelMetadataResponse"]
SignatureDefMap: Any = _CLASSES["SignatureDefMap"]

# Type number -> its name, the letter of a value in `struct`, and the field of values that are not in `tensor_content`.
_NUMERIC = {
    DT_FLOAT: ("float32", "f", "float_val"),
    DT_DOUBLE: ("float64", "d", "double_val"),
    DT_INT32: ("int32", "i", "int_val"),
    DT_INT64: ("int64", "q", "int64_val"),
    DT_BOOL: ("bool", "?", "bool_val"),
}
_NUMBER_OF = {name: number for number, (name, _, _) in _NUMERIC.items()}


@dataclass(frozen=True)
class TensorValues:
    """A tensor as plain Python values.

    Args:
      dtype: "float32", "float64", "int32", "int64", "bool" or "string"; a string is bytes.
      shape: of the tensor.
      values: all of them, those of the last dimension next to each other.
    """

    dtype: str
    shape: tuple[int, ...]
    values: list[Any]

    def rows(self) -> list[list[Any]]:
        """Return the rows of a tensor [..., C], B of a tensor [B, C]."""
        width = self.shape[-1]
        return [self.values[row * width : (row + 1) * width] for row in range(math.prod(self.shape[:-1]))]


def encode_column(name: str, values: Sequence[str], *, rows: int | None = None) -> list[bytes]:
    """Encode one string per row as UTF-8.

    Args:
      name: what the caller knows the values as, for messages.
      values: B strings.
      rows: B, where it is known already.

    Raises:
      DataError: if `values` is one string, holds something else than strings, has another length, or holds half of a
        surrogate pair, which UTF-8 cannot express.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise DataError(f"`{name}` must be a sequence of str. Received: one {values!r:.80}. Hint: put it into a list.")
    values = list(values)
    for index, value in enumerate(values):
        if not isinstance(value, str):
            raise DataError(f"`{name}` must hold str only. Received: {type(value).__name__} at row {index}.")
    if rows is not None and len(values) != rows:
        raise DataError(f"`{name}` must have one entry per text. Received: {len(values)} for {counted(rows, 'text')}.")
    return [_encode(name, value, index) for index, value in enumerate(values)]


def set_strings(tensor: TensorMessage, values: Sequence[bytes]) -> None:
    """Fill `tensor` with strings of shape [B]."""
    tensor.dtype = DT_STRING
    tensor.tensor_shape.dim.add(size=len(values))
    tensor.string_val.extend(values)


def set_array(tensor: TensorMessage, array: "np.ndarray") -> None:
    """Fill `tensor` with a NumPy array of any shape, of float32, float64, int32, int64, bool, or of str or bytes.

    Raises:
      DataError: if the array has another dtype.
    """
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    if array.dtype.kind in "OSU":
        tensor.dtype = DT_STRING
        tensor.string_val.extend(
            value.encode() if isinstance(value, str) else value for value in array.ravel().tolist()
        )
        return
    if array.dtype.name not in _NUMBER_OF:
        raise DataError(
            f"A tensor must be float32, float64, int32, int64, bool or strings. Received: dtype={array.dtype}."
        )
    tensor.dtype = _NUMBER_OF[array.dtype.name]
    tensor.tensor_content = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def read_tensor(tensor: TensorMessage) -> TensorValues:
    """Return a tensor's values and shape.

    Both forms are read: packed `tensor_content`, and one field per type, where a last value that is left out repeats
    (as TensorFlow reads it) and no value at all means zeros.

    Raises:
      DataError: if the type is none that this module knows, or the values do not fill the shape.
    """
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if min(shape, default=0) < 0 or math.prod(shape) > _MOST_VALUES:
        raise DataError(f"A tensor must have at most {_MOST_VALUES:,} values. Received: shape={shape}.")
    if tensor.dtype == DT_STRING:
        return _filled("string", shape, list(tensor.string_val), empty=b"")
    if tensor.dtype not in _NUMERIC:
        raise DataError(f"A tensor must be of type number {sorted([*_NUMERIC, DT_STRING])}. Received: {tensor.dtype}.")
    name, letter, field = _NUMERIC[tensor.dtype]
    if not tensor.tensor_content:
        return _filled(name, shape, list(getattr(tensor, field)), empty=False if name == "bool" else 0)
    try:
        return TensorValues(name, shape, list(struct.unpack(f"<{math.prod(shape)}{letter}", tensor.tensor_content)))
    except struct.error as error:
        length = len(tensor.tensor_content)
        raise DataError(
            f"A tensor's bytes must fill its shape. Received: {counted(length, 'byte')}, shape={shape}."
        ) from error


def _encode(name: str, value: str, index: int) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"`{name}` must be text that UTF-8 can express. Received: a lone surrogate at character {error.start} of row"
            f" {index}. Hint: read the source with errors='replace'."
        ) from error


def _filled(dtype: str, shape: tuple[int, ...], values: list[Any], *, empty: bytes | int) -> TensorValues:
    count = math.prod(shape)
    if len(values) > count:
        raise DataError(
            f"A tensor's values must fill its shape. Received: {counted(len(values), 'value')}, shape={shape}."
        )
    repeated = values[-1] if values else empty
    return TensorValues(dtype, shape, values + [repeated] * (count - len(values)))
