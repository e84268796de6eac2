"""Convert float32 rows to the dtype of an export's tables, and back."""

import dataclasses

import numpy as np
import tensorflow as tf

from softprompt_tf.errors import ExportError
from softprompt_tf.methods import TaskPrompt

TABLE_DTYPES = ("float32", "bfloat16", "float16")
FLOAT16_BITS = tf.int16  # TensorFlow 2.21 restores no float16 tensor that was written in parts (tensor_bundle.cc)


def stored_prompts(prompts: np.ndarray, table_dtype: str) -> tf.Tensor:
    """Return rows float32 [R, ...] as they are stored: in the table's dtype, float16 as the int16 of the same bits.

    Raises:
      ExportError: if the dtype is none of `TABLE_DTYPES`, or a value does not fit into it.
    """
    if table_dtype not in TABLE_DTYPES:
        raise ExportError(f"`table_dtype` must be one of {', '.join(TABLE_DTYPES)}. Received: {table_dtype!r}.")
    stored = tf.cast(prompts, table_dtype)
    if not bool(tf.reduce_all(tf.math.is_finite(stored))):
        largest = float(np.abs(prompts).max())
        raise ExportError(f"Prompts must fit into {table_dtype}. Received: a value of {largest:g}. Use float32.")
    return tf.bitcast(stored, FLOAT16_BITS) if table_dtype == "float16" else stored


def restored_prompts(stored: np.ndarray) -> np.ndarray:
    """Return float32 rows of what `stored_prompts` returned."""
    is_float16 = stored.dtype == FLOAT16_BITS.as_numpy_dtype
    return (stored.view(np.float16) if is_float16 else stored).astype(np.float32)


def as_stored(prompt: TaskPrompt, table_dtype: str) -> TaskPrompt:
    """Return a task with the values that tables of this dtype hold."""
    stored = {name: stored_prompts(value, table_dtype).numpy() for name, value in prompt.tensors.items()}
    return dataclasses.replace(prompt, tensors={name: restored_prompts(value) for name, value in stored.items()})
