"""A KerasHub preset directory in, its backbone out: no random weights first, each weight in its dtype as it is read."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np

from softprompt_tf.t5.checkpoints import StoredTensor
from softprompt_tf.t5.checkpoints.int8_kernel import fill_int8
from softprompt_tf.t5.checkpoints.weight_memory import as_tensor, unwritten, without_initializers
from softprompt_tf.t5.fingerprint import WeightSample, sample_weight, samples_fingerprint
from softprompt_tf.t5.spared_garbage import spared_garbage
from softprompt_tf.typing import Tensor


def read_preset_backbone(
    directory: Path, *, dtype: str, quantization: str | None = None
) -> tuple[keras_hub.models.T5Backbone, str]:
    """Read the backbone of a preset directory.

    Args:
      directory: holds config.json, and model.weights.h5 or the shards that model.weights.json lists.
      dtype: "float32" or "bfloat16".
      quantization: "int8" makes every projection int8 as it is read, without a float copy of the model; None leaves all
        in `dtype`.

    Returns:
      The backbone, and the fingerprint of its weights before any quantization.

    Raises:
      ValueError, OSError, KeyError, TypeError: as KerasHub, Keras and h5py do, if the directory holds no such preset.
    """
    backbone = without_initializers(
        lambda: keras_hub.models.T5Backbone.from_preset(str(directory), dtype=dtype, load_weights=False)
    )
    floats = list(backbone.weights)
    samples: dict[int, WeightSample] = {}
    layers = [layer for layer in backbone._flatten_layers() if not isinstance(layer, keras.Model)]
    for layer in layers:
        layer.load_own_variables = _reader_of(layer, dtype, quantization, samples)
    weights = directory / "model.weights.h5"
    try:
        with spared_garbage():
            backbone.load_weights(str(weights if weights.exists() else weights.with_suffix(".json")))
    finally:
        for layer in layers:
            del layer.load_own_variables
    return backbone, samples_fingerprint(samples.get(id(weight)) or sample_weight(weight.value) for weight in floats)


def _reader_of(
    layer: keras.layers.Layer, dtype: str, quantization: str | None, samples: dict[int, WeightSample]
) -> Callable[[Any], None]:
    """Return what takes the place of a layer's `load_own_variables`."""
    if quantization and isinstance(layer, keras.layers.Dense):
        return partial(_read_int8, layer, samples)
    read = layer.load_own_variables
    return lambda store: read(_Store(store, dtype))


def _read_int8(layer: keras.layers.Dense, samples: dict[int, WeightSample], store: Any) -> None:
    """Quantize a projection, which has no bias, with the kernel in the file."""
    kernel = layer.kernel
    stored: np.ndarray = store["0"]
    if stored.shape != tuple(kernel.shape):
        raise ValueError(
            f"The kernel of {layer.path} must have the shape {tuple(kernel.shape)}. Received: {stored.shape}."
        )
    samples[id(kernel)] = fill_int8(layer, StoredTensor(layer.path, stored.shape, stored.__getitem__))


class _Store:
    """What a preset's file holds of one layer, each weight as a tensor in memory of its own.

    Args:
      store: Keras's, of the layer.
      dtype: of the tensors.
    """

    def __init__(self, store: Any, dtype: str):
        self._store = store
        self._dtype = dtype

    def keys(self) -> Iterable[str]:
        return self._store.keys()

    def __getitem__(self, key: str) -> Tensor:
        stored: np.ndarray = self._store[key]
        value = unwritten(stored.shape, self._dtype)
        value[...] = stored
        return as_tensor(value)
