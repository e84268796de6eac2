"""Output tensors of a prediction to the body of a REST answer, in rows or in columns as the request came.

Source: tensorflow/serving util/json_tensor.cc (`MakeJsonFromTensors`).
"""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from softprompt_tf.errors import ServingError
from softprompt_tf.export.server.json_writer import JsonWriter, decimal


def encode_outputs(outputs: Mapping[str, tensor_pb2.TensorProto], *, in_rows: bool) -> bytes:
    """Return the response's body: one entry per row, or one list per output; a single output drops its name."""
    arrays = {name: tf.make_ndarray(outputs[name]) for name in sorted(outputs)}
    writer = JsonWriter()
    writer.start(is_array=False)
    if in_rows:
        _write_rows(writer, arrays)
    else:
        _write_columns(writer, arrays)
    writer.end()
    return writer.text()


def _write_rows(writer: JsonWriter, arrays: Mapping[str, np.ndarray]) -> None:
    writer.string(b"predictions")
    writer.start(is_array=True)
    for index in range(_count_rows(arrays)):
        if len(arrays) > 1:
            writer.start(is_array=False)
        writer.single_line_arrays = True
        for name, array in arrays.items():
            if len(arrays) > 1:
                writer.string(name.encode())
            _write_values(writer, array[index].tolist() if array.ndim > 1 else array[index], name, array.dtype)
        writer.single_line_arrays = False
        if len(arrays) > 1:
            writer.end()
    writer.end()


def _write_columns(writer: JsonWriter, arrays: Mapping[str, np.ndarray]) -> None:
    writer.string(b"outputs")
    if len(arrays) > 1:
        writer.start(is_array=False)
    for name, array in arrays.items():
        if len(arrays) > 1:
            writer.string(name.encode())
        _write_values(writer, array.tolist(), name, array.dtype)
    if len(arrays) > 1:
        writer.end()


def _count_rows(arrays: Mapping[str, np.ndarray]) -> int:
    rows = 0
    for name, array in arrays.items():
        if not array.ndim:
            raise _refusal(f"Tensor name: {name} has no shape information ")
        if not len(array):
            raise _refusal(f"Tensor name: {name} has invalid batch size: 0")
        if rows and rows != len(array):
            raise _refusal(f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {rows}")
        rows = len(array)
    return rows


def _write_values(writer: JsonWriter, value: Any, name: str, dtype: np.dtype) -> None:
    if isinstance(value, list):
        writer.start(is_array=True)
        for item in value:
            _write_values(writer, item, name, dtype)
        writer.end()
    elif isinstance(value, bytes) and name.endswith("_bytes"):
        writer.start(is_array=False)
        writer.string(b"b64")
        writer.string(base64.b64encode(value))
        writer.end()
    elif isinstance(value, bytes):
        writer.string(value)
    elif dtype.kind == "f":
        writer.raw(decimal(np.float32(value) if dtype == np.float32 else float(value)).encode())
    else:
        writer.raw(str(value).lower().encode())


def _refusal(message: str) -> ServingError:
    return ServingError(message, status="INVALID_ARGUMENT")
