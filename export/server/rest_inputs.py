"""The body of a REST request to input tensors: rows (`instances`) or columns (`inputs`).

Strings come as text or as {"b64": ...}; refusals are worded as TF Serving words them.

Source: tensorflow/serving util/json_tensor.cc (forms, order of checks, texts).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from softprompt_tf.errors import ServingError
from softprompt_tf.export.server.json_base64 import decode_base64_object, is_base64_object
from softprompt_tf.export.server.json_reader import Json, Object, parse_json
from softprompt_tf.export.server.json_writer import quote, to_text
from softprompt_tf.export.server.wire_tensors import VALUE_FIELDS

TensorInfos = Mapping[str, meta_graph_pb2.TensorInfo]

# Field of integers -> the lowest and the highest that it takes from JSON.
_INTEGERS = {
    "int_val": (-(2**31), 2**31 - 1),
    "int64_val": (-(2**63), 2**63 - 1),
    "uint32_val": (0, 2**32 - 1),
    "uint64_val": (0, 2**64 - 1),
}
_FLOATS: dict[int, Any] = {types_pb2.DT_FLOAT: np.finfo(np.float32), types_pb2.DT_DOUBLE: np.finfo(np.float64)}


def parse_object(body: bytes) -> Object:
    """Return the JSON object in a request's body."""
    document = parse_json(body)
    if not isinstance(document, Object):
        raise _refusal(f"JSON Value: {quote(document)} Is not object")
    return document


def read_signature_name(document: Object) -> str:
    """Return the signature that a body asks for; the empty name where it names none."""
    for name in document.find(b"signature_name"):
        if not isinstance(name, bytes):
            message = "not formatted correctly. 'signature_name' key must be a string value."
            raise _refusal(f"JSON Value: {quote(document)} {message}")
        return to_text(name)
    return ""


def read_inputs(document: Object, infos: TensorInfos, tensors: Any) -> None:
    """Fill a request's map of input tensors from the rows or the columns of `document`."""
    rows, columns = document.find(b"instances"), document.find(b"inputs")
    if rows and columns:
        message = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        raise _refusal(f"JSON Value: {quote(document)} {message}")
    if not rows and not columns:
        raise _refusal("Missing 'inputs' or 'instances' key")
    if columns:
        _read_columns(columns[0], infos, tensors)
        return
    if not isinstance(rows[0], list):
        raise _refusal(f"JSON Value: {quote(document)} Expecting 'instances' to be an list/array")
    if not rows[0]:
        raise _refusal(f"JSON Value: {quote(document)} No values in 'instances' array")
    _read_rows(rows[0], infos, tensors)


def check_examples(document: Object) -> None:
    """Refuse the body of a classify or regress request that has no list of examples."""
    examples = document.find(b"examples")
    if not examples:
        message = "When method is classify, key 'examples' is expected and was not found"
    elif not isinstance(examples[0], list):
        message = "Expecting 'examples' value to be an list/array"
    elif not examples[0]:
        message = "'examples' value is an empty array"
    else:
        return
    raise _refusal(f"JSON Value: {quote(document)} {message}")


def _read_columns(value: Json, infos: TensorInfos, tensors: Any) -> None:
    if not isinstance(value, Object) or is_base64_object(value):
        if len(infos) > 1:
            raise _refusal(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per"
                " tensorinfo_map"
            )
        for name in infos:
            _add_values(tensors[name], value, infos[name].dtype)
        return
    for name in sorted(infos):
        found = value.find(name.encode())
        if not found:
            raise _refusal(f"Missing named input: {name} in 'inputs' object.")
        _add_values(tensors[name], found[0], infos[name].dtype)


def _read_rows(rows: list[Json], infos: TensorInfos, tensors: Any) -> None:
    if not isinstance(rows[0], Object) and len(infos) > 1:
        raise _refusal(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per"
            " tensorinfo_map"
        )
    are_named = _is_named(rows[0])
    shapes: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        if are_named != _is_named(row):
            expected, got = ("object", "list") if are_named else ("value/list", "object")
            raise _refusal(f"Expecting {expected} but got {got} at item {index} of input list")
        # A name ends at a NUL, as a C string does.
        items = [(to_text(name.split(b"\0")[0]), value) for name, value in row.members] if are_named else None
        for name, value in items if items is not None else [(min(infos), row)]:
            where = f"{index} key: {name}" if are_named else str(index)
            _add_item(tensors, name, value, infos=infos, shapes=shapes, where=where)
        if items is not None and {name for name, _ in items} != set(infos):
            raise _refusal(
                f"Failed to process element: {index} of 'instances' list. JSON object: {quote(row)} keys must be"
                f" equal to: {','.join(sorted(infos))}"
            )
    for name, shape in shapes.items():
        _set_shape(tensors[name], [len(rows), *shape])


def _add_item(
    tensors: Any, name: str, value: Json, *, infos: TensorInfos, shapes: dict[str, list[int]], where: str
) -> None:
    """Append one row's value of one input; of a name that a row repeats, all values are appended."""
    try:
        if name not in infos:
            raise _refusal(f"JSON object: does not have named input: {name}")
        shape = _add_values(tensors[name], value, infos[name].dtype)
        expected = shapes.setdefault(name, shape)
        if _size(shape) != _size(expected):
            raise _refusal(f"Expecting tensor size: {_size(expected)} but got: {_size(shape)}")
        if shape != expected:
            raise _refusal(f"Expecting shape {_brackets(expected)} but got: {_brackets(shape)}")
    except ServingError as error:
        message = f"Failed to process element: {where} of 'instances' list. Error: {error.status}: {error}"
        raise _refusal(message) from error


def _add_values(tensor: tensor_pb2.TensorProto, value: Json, dtype: int) -> list[int]:
    """Append the values of a number, a text or a nest of lists, and return its shape, which the tensor then has."""
    shape, tensor.dtype = _shape_of(value), dtype
    if dtype not in VALUE_FIELDS:
        message = f"Conversion of JSON Value: {quote(value)} to type: {_type_name(dtype)}"
        raise ServingError(message, status="UNIMPLEMENTED")
    _set_shape(tensor, shape)
    getattr(tensor, VALUE_FIELDS[dtype]).extend(_leaves(value, shape, dtype))
    return shape


def _shape_of(value: Json) -> list[int]:
    """Return the shape that the first elements suggest; `_leaves` holds all others to it."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return shape


def _leaves(value: Json, shape: list[int], dtype: int) -> list[Any]:
    """Return the values of a nest of lists in order; without recursion, as the nest may be deep."""
    leaves, todo = [], [(value, 0)]
    while todo:
        item, level = todo.pop()
        if isinstance(item, list):
            if level >= len(shape):
                raise _refusal(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
            if len(item) != shape[level]:
                raise _refusal(
                    f"Encountered list at unexpected size: {len(item)} at level: {level} expected size: {shape[level]}"
                )
            todo.extend((inner, level + 1) for inner in reversed(item))
        elif level != len(shape):
            raise _refusal(
                f"JSON Value: {quote(item)} found at incorrect level: {level + 1} in the JSON DOM. Expected at"
                f" level: {len(shape)}"
            )
        else:
            leaves.append(_leaf(item, dtype))
    return leaves


def _leaf(value: Json, dtype: int) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if dtype == types_pb2.DT_STRING and isinstance(value, bytes):
        return value
    if dtype == types_pb2.DT_STRING and isinstance(value, Object):
        return decode_base64_object(value)
    if dtype in _FLOATS and is_number:
        return _lossless(value, dtype)
    if dtype == types_pb2.DT_BOOL and isinstance(value, bool):
        return value
    low, high = _INTEGERS.get(VALUE_FIELDS[dtype], (1, 0))
    if is_number and isinstance(value, int) and low <= value <= high:
        return value
    raise _refusal(f"JSON Value: {quote(value)} Type: {_json_type(value)} is not of expected type: {_type_name(dtype)}")


def _lossless(value: float, dtype: int) -> float:
    """Refuse an integer that a float cannot tell from its neighbours, and a number beyond the largest one."""
    info = _FLOATS[dtype]
    bound = 2 ** (info.nmant + 1) - 1 if isinstance(value, int) else float(info.max)
    if abs(value) > bound and abs(value) != np.inf:
        raise _refusal(f"Cannot convert JSON value: {quote(value)} to {_type_name(dtype)} without loss of precision.")
    return value


def _is_named(row: Json) -> bool:
    return isinstance(row, Object) and not is_base64_object(row)


def _set_shape(tensor: tensor_pb2.TensorProto, shape: list[int]) -> None:
    del tensor.tensor_shape.dim[:]
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)


def _size(shape: list[int]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _brackets(shape: list[int]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _type_name(dtype: int) -> str:
    return types_pb2.DataType.Name(dtype).removeprefix("DT_").lower()


def _json_type(value: Json) -> str:
    names = {Object: "Object", list: "Array", bytes: "String", int: "Number", float: "Number", type(None): "Null"}
    return str(value) if isinstance(value, bool) else names[type(value)]


def _refusal(message: str) -> ServingError:
    return ServingError(message, status="INVALID_ARGUMENT")
