"""TensorProtos of a request to tensors, and tensors to TensorProtos of an answer, as TF Serving's C++ code has them.

Source: tensorflow/serving servables/tensorflow/predict_util.cc (`tensor parsing error`, `AsProtoField`);
tensorflow/tensorflow core/framework/tensor.cc (`FromProto`).
"""

import math

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from softprompt_tf.errors import ServingError

MAX_TENSOR_BYTES = 2**31 - 1  # as of a gRPC message; a few bytes of a TensorProto can ask for any number of them
_STRING_BYTES = 24  # of an element, without what it holds

# dtype -> the field of a TensorProto that holds its values
VALUE_FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_STRING: "string_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
    **dict.fromkeys((types_pb2.DT_INT32, types_pb2.DT_INT16, types_pb2.DT_INT8, types_pb2.DT_UINT8), "int_val"),
}
_OTHER_DTYPES = (types_pb2.DT_UINT16, types_pb2.DT_HALF, types_pb2.DT_BFLOAT16, types_pb2.DT_COMPLEX64)
_DTYPES = frozenset({*VALUE_FIELDS, *_OTHER_DTYPES})


def read_tensor(alias: str, proto: tensor_pb2.TensorProto) -> tf.Tensor:
    """Return the tensor that an input's proto describes.

    A last value that is left out repeats, values beyond the shape are passed over, and an unknown rank reads as a scalar.

    Raises:
      ServingError: with status INVALID_ARGUMENT, if it describes none, or one of 2 GiB or more.
    """
    sizes = [dim.size for dim in proto.tensor_shape.dim]
    is_possible = proto.dtype in _DTYPES and min(sizes, default=0) >= 0
    if not is_possible or math.prod(sizes) * _bytes_of(proto.dtype) > MAX_TENSOR_BYTES:
        raise _parsing_error(alias)
    try:
        return tf.io.parse_tensor(proto.SerializeToString(), proto.dtype)
    except tf.errors.OpError as error:
        raise _parsing_error(alias) from error


def write_tensor(tensor: "tf.Tensor | np.ndarray") -> tensor_pb2.TensorProto:
    """Return a proto that holds the values in the field of their type, never packed as `tensor_content`."""
    array = np.asarray(tensor)
    dtype = tf.as_dtype(array.dtype).as_datatype_enum
    if dtype not in VALUE_FIELDS:
        return tf.make_tensor_proto(array)
    proto = tensor_pb2.TensorProto(dtype=dtype)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, VALUE_FIELDS[dtype]).extend(array.ravel().tolist())
    return proto


def _bytes_of(dtype: int) -> int:
    return _STRING_BYTES if dtype == types_pb2.DT_STRING else tf.as_dtype(dtype).size


def _parsing_error(alias: str) -> ServingError:
    return ServingError(f"tensor parsing error: {alias}", status="INVALID_ARGUMENT")
