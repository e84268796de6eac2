"""Give a Dense layer an int8 or int4 kernel from a float weight, without a float copy of the model."""

from typing import Any

import keras
import numpy as np

from softprompt_tf.backbones.checkpoints.checkpoint import StoredTensor
from softprompt_tf.backbones.checkpoints.weight_memory import as_tensor, read_weight, unwritten
from softprompt_tf.backbones.fingerprint import WeightSample, sample_weight
from softprompt_tf.backbones.passes.placed import beside
from softprompt_tf.typing import Tensor

INT8, INT4 = "int8", "int4"
_BLOCK_COLUMNS = 256


def fill_quantized(layer: keras.layers.Dense, tensor: StoredTensor, quantization: str) -> WeightSample:
    """Quantize a layer that is not filled, with the kernel from a file; return the sample of the float kernel."""
    return fill_int8(layer, tensor) if quantization == INT8 else fill_int4(layer, tensor)


def fill_int4(layer: keras.layers.Dense, tensor: StoredTensor) -> WeightSample:
    """Do so with four bits a value and, for each group of inputs of an output, a scale and a zero point, as Keras does."""
    value = read_weight(tensor, tuple(layer.kernel.shape), str(layer.kernel.dtype))
    with beside(layer.kernel.value):
        layer.kernel.assign(as_tensor(value))
        layer.quantize(INT4, config=keras.quantizers.Int4QuantizationConfig())
    layer.trainable = False
    return sample_weight(value)


def fill_int8(layer: keras.layers.Dense, tensor: StoredTensor) -> WeightSample:
    """Quantize a layer that is not filled, with the kernel from a file; return the sample of the float kernel.

    Building the layer in int8 instead costs memory for good, 0.2 GB for 48 layers of T5, which no garbage collection frees; likely
    the gradients that such layers' symbolic calls register with TensorFlow.
    """
    value = read_weight(tensor, tuple(layer.kernel.shape), "float32")
    with beside(layer.kernel.value):
        layer.quantize(INT8, config=keras.quantizers.Int8QuantizationConfig(weight_quantizer=_Quantized(value)))
    layer.quantization_config = (
        keras.quantizers.Int8QuantizationConfig()
    )  # Keras's own, for whoever writes the layer's config
    layer.trainable = False
    return sample_weight(value)


class _Quantized:
    """What Keras takes for a quantizer of weights, and whose result is that of the float kernel read from the file.

    The same numbers as Keras's `AbsMaxQuantizer(axis=0)`, one scale per output, but some outputs at a time.
    """

    output_dtype = INT8

    def __init__(self, value: np.ndarray):
        self._value = value

    def __call__(self, kernel: Any, to_numpy: bool = False) -> tuple[Tensor, Tensor]:
        quantized, scales = unwritten(self._value.shape, INT8), np.empty((1, self._value.shape[1]), np.float32)
        for start in range(0, self._value.shape[1], _BLOCK_COLUMNS):
            part = slice(start, start + _BLOCK_COLUMNS)
            block, scale = keras.quantizers.abs_max_quantize(self._value[:, part], axis=0, to_numpy=True)
            quantized[:, part] = keras.ops.convert_to_numpy(block)
            scales[:, part] = keras.ops.convert_to_numpy(scale)
        return as_tensor(quantized), keras.ops.convert_to_tensor(scales)
