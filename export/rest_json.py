"""JSON of the REST form to tensors and back: a body's object enters, input tensors leave; outputs enter, an object leaves.

Rows (`instances`, answered as `predictions`) and columns (`inputs`, answered as `outputs`), strings as text or as
{"b64": ...}; refusals are worded as TF Serving words them.

Source: tensorflow/serving util/json_tensor.cc (forms, order of checks, texts).
"""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from softprompt_tf.errors import ServingError

TensorInfos = Mapping[str, meta_graph_pb2.TensorInfo]

_FLOATS = frozenset({types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE})
_INTEGER_BITS = {
    types_pb2.DT_INT8: 7,
    types_pb2.DT_INT16: 15,
    types_pb2.DT_INT32: 31,
    types_pb2.DT_INT64: 63,
}


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a request's body; NaN and Infinity are allowed."""
    if not body:
        raise _refusal("JSON Parse error: The document is empty")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _refusal(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise _refusal(f"JSON Value: {json.dumps(document)} Is not object")
    return document


def read_inputs(document: dict[str, Any], infos: TensorInfos, tensors: Any) -> None:
    """Fill a request's map of input tensors from the rows or the columns of `document`."""
    if "instances" in document and "inputs" in document:
        message = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        raise _refusal(f"JSON Value: {json.dumps(document)} {message}")
    if "instances" in document:
        arrays = _read_rows(document, document["instances"], infos)
    elif "inputs" in document:
        arrays = _read_columns(document["inputs"], infos)
    else:
        raise _refusal("Missing 'inputs' or 'instances' key")
    for name, array in arrays.items():
        tensors[name].CopyFrom(tf.make_tensor_proto(array, dtype=infos[name].dtype, shape=array.shape))


def encode_outputs(outputs: Mapping[str, tensor_pb2.TensorProto], *, in_rows: bool) -> dict[str, Any]:
    """Return the response's object: one entry per row, or one list per output; a single output drops its name."""
    arrays = {name: tf.make_ndarray(outputs[name]) for name in sorted(outputs)}
    columns = {name: _to_json(name, array) for name, array in arrays.items()}
    if not in_rows:
        return {"outputs": next(iter(columns.values())) if len(columns) == 1 else columns}
    sizes = {array.shape[:1] for array in arrays.values()}
    if len(sizes) > 1 or () in sizes:
        raise _refusal(
            f"Rows need outputs with one batch size. Received: {sorted(sizes)}. Send 'inputs', not 'instances'."
        )
    if len(columns) == 1:
        return {"predictions": next(iter(columns.values()))}
    return {"predictions": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]}


def _read_columns(value: Any, infos: TensorInfos) -> dict[str, np.ndarray]:
    if not isinstance(value, dict) or _is_base64(value):
        if len(infos) > 1:
            raise _refusal(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per"
                " tensorinfo_map"
            )
        return {name: _to_array(value, info.dtype) for name, info in infos.items()}
    for name in sorted(infos):
        if name not in value:
            raise _refusal(f"Missing named input: {name} in 'inputs' object.")
    return {name: _to_array(value[name], info.dtype) for name, info in infos.items()}


def _read_rows(document: dict[str, Any], rows: Any, infos: TensorInfos) -> dict[str, np.ndarray]:
    if not isinstance(rows, list):
        raise _refusal(f"JSON Value: {json.dumps(document)} Excepting 'instances' to be an list/array")
    if not rows:
        raise _refusal(f"JSON Value: {json.dumps(document)} No values in 'instances' array")
    if not isinstance(rows[0], dict) and len(infos) > 1:
        raise _refusal(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per"
            " tensorinfo_map"
        )
    named = _is_named(rows[0])
    columns: dict[str, list[np.ndarray]] = {name: [] for name in infos}
    for index, row in enumerate(rows):
        if named != _is_named(row):
            expected, got = ("object", "list") if named else ("value/list", "object")
            raise _refusal(f"Expecting {expected} but got {got} at item {index} of input list")
        for name, value in (row if named else dict.fromkeys(infos, row)).items():
            where = f"{index} key: {name}" if named else str(index)
            _add_value(columns, name, value, where, infos)
        if named and set(row) != set(infos):
            raise _refusal(
                f"Failed to process element: {index} of 'instances' list. JSON object: {json.dumps(row)} keys must be"
                f" equal to: {','.join(sorted(infos))}"
            )
    return {name: np.stack(values) for name, values in columns.items()}


def _add_value(columns: dict[str, list[np.ndarray]], name: str, value: Any, where: str, infos: TensorInfos) -> None:
    try:
        if name not in infos:
            raise _refusal(f"JSON object: does not have named input: {name}")
        array = _to_array(value, infos[name].dtype)
        shape = columns[name][0].shape if columns[name] else array.shape
        if array.shape != shape:
            raise _refusal(f"Expecting shape {list(shape)} but got: {list(array.shape)}")
    except ServingError as error:
        message = f"Failed to process element: {where} of 'instances' list. Error: INVALID_ARGUMENT: {error}"
        raise _refusal(message) from error
    columns[name].append(array)


def _to_array(value: Any, dtype: int) -> np.ndarray:
    shape = _shape_of(value)
    leaves = list(_leaves(value, shape, 0))
    array = np.empty(len(leaves), dtype=tf.as_dtype(dtype).as_numpy_dtype)
    array[:] = [_leaf(leaf, dtype) for leaf in leaves]
    return array.reshape(shape)


def _shape_of(value: Any) -> list[int]:
    """Return the shape that the first elements suggest; `_leaves` holds all others to it."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return shape


def _leaves(value: Any, shape: list[int], level: int) -> Iterator[Any]:
    if not isinstance(value, list):
        if level != len(shape):
            raise _refusal(
                f"JSON Value: {json.dumps(value)} found at incorrect level: {level + 1} in the JSON DOM. Expected at"
                f" level: {len(shape)}"
            )
        yield value
        return
    if level >= len(shape):
        raise _refusal(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise _refusal(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for item in value:
        yield from _leaves(item, shape, level + 1)


def _leaf(value: Any, dtype: int) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if dtype == types_pb2.DT_STRING and isinstance(value, str):
        return value.encode(errors="replace")
    if dtype == types_pb2.DT_STRING and isinstance(value, dict):
        return _decode_base64(value)
    if dtype in _FLOATS and is_number:
        return _lossless(value, dtype)
    if dtype in _INTEGER_BITS and is_number and isinstance(value, int) and value.bit_length() <= _INTEGER_BITS[dtype]:
        return value
    if dtype == types_pb2.DT_BOOL and isinstance(value, bool):
        return value
    got = f"JSON Value: {json.dumps(value)} Type: {_json_type(value)}"
    raise _refusal(f"{got} is not of expected type: {_type_name(dtype)}")


def _lossless(value: float, dtype: int) -> float:
    info = np.finfo(tf.as_dtype(dtype).as_numpy_dtype)
    bound = 2 ** (info.nmant + 1) - 1 if isinstance(value, int) else float(info.max)
    if abs(value) > bound and value not in (np.inf, -np.inf):
        name = _type_name(dtype)
        raise _refusal(f"Cannot convert JSON value: {json.dumps(value)} to {name} without loss of precision.")
    return value


def _decode_base64(value: dict[str, Any]) -> bytes:
    if not _is_base64(value):
        raise _refusal(f"JSON Value: {json.dumps(value)} not formatted correctly for base64 data")
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise _refusal("Unable to base64 decode") from error


def _is_named(row: Any) -> bool:
    return isinstance(row, dict) and not _is_base64(row)


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)


def _type_name(dtype: int) -> str:
    return types_pb2.DataType.Name(dtype).removeprefix("DT_").lower()


def _json_type(value: Any) -> str:
    names = {dict: "Object", list: "Array", str: "String", int: "Number", float: "Number", type(None): "Null"}
    return str(value) if isinstance(value, bool) else names[type(value)]


def _to_json(name: str, array: np.ndarray) -> Any:
    if array.dtype.kind in "OS":
        encode = _encode_base64 if name.endswith("_bytes") else _decode_text
        return _map_leaves(array.tolist(), encode)
    if array.dtype == np.float32:  # the shortest text that reads back as the same float32, not as the same double
        return _map_leaves(array.astype(str).tolist(), float)
    return array.tolist()


def _map_leaves(value: Any, function: Any) -> Any:
    return [_map_leaves(item, function) for item in value] if isinstance(value, list) else function(value)


def _encode_base64(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode()}


def _decode_text(value: bytes) -> str:
    return value.decode(errors="replace")


def _refusal(message: str) -> ServingError:
    return ServingError(message, status="INVALID_ARGUMENT")
