"""Memory for a model's weights that takes no pages before they are written.

Each weight lies in a mapping of its own. TensorFlow takes its memory from malloc, which keeps what is freed and hands it out
again in pieces: while a model is loaded, that comes to half of it and more.
"""

import mmap
from collections.abc import Callable
from typing import Any

import keras
import keras_hub
import ml_dtypes
import numpy as np

from softprompt_tf.backbones.checkpoints.checkpoint import StoredTensor
from softprompt_tf.backbones.checkpoints.finite_values import check_finite, check_floating
from softprompt_tf.keras_backend import is_tensorflow
from softprompt_tf.typing import Tensor


def unwritten(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return zeros that are no memory yet. Their memory goes back to the system once nobody holds the array or its tensor."""
    width = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    size = int(np.prod(shape)) * width.itemsize
    pages = mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(pages, np.uint8, size).view(width).reshape(shape)


def as_tensor(value: np.ndarray) -> Tensor:
    """Return an array of `unwritten` as a tensor; under TensorFlow in the same memory, where Keras would copy it."""
    if not is_tensorflow():
        return keras.ops.convert_to_tensor(value)
    import tensorflow as tf

    if value.dtype != ml_dtypes.bfloat16:
        return tf.experimental.dlpack.from_dlpack(value.__dlpack__())
    return tf.bitcast(tf.experimental.dlpack.from_dlpack(value.view(np.uint16).__dlpack__()), tf.bfloat16)


def as_array(variable: keras.Variable | Tensor) -> np.ndarray:
    """Return the values of a variable or a tensor, read-only: on a CPU in its own memory, which `ops.convert_to_numpy` copies.

    A variable that is assigned to takes other memory while somebody holds the array.
    """
    value = variable.value if isinstance(variable, keras.Variable) else variable
    values = np.asarray(value.read_value() if hasattr(value, "read_value") else value).view()
    values.flags.writeable = False
    return values


def read_weight(tensor: StoredTensor, shape: tuple[int, ...], dtype: str, factor: float = 1.0) -> np.ndarray:
    """Read a weight block by block into memory of its own, in another dtype and times a factor if need be.

    Raises:
      ValueError: if a value is no floating-point number, NaN or infinite.
    """
    value = unwritten(shape, dtype)
    for place, block in tensor.blocks():
        check_floating(block.dtype)
        value[place] = block if factor == 1.0 else block.astype(np.float32) * np.float32(factor)
        check_finite(value[place])
    return value


def without_initializers(build: Callable[[], keras_hub.models.T5Backbone]) -> keras_hub.models.T5Backbone:
    """Build a model whose weights are zeros that take no memory, in the place of random numbers that would be overwritten."""
    with keras.StatelessScope():  # Keras puts off what creates variables until the scope ends
        backbone = build()
        for variable in backbone.weights:
            variable._initializer = _unwritten_tensor
    return backbone


def _unwritten_tensor(shape: Any, dtype: str) -> Tensor:
    return as_tensor(unwritten(tuple(shape), dtype))
