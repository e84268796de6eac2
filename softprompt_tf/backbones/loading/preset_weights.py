"""Read a KerasHub preset directory weight by weight, without random weights first."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import keras
import keras_hub
import numpy as np

from softprompt_tf.backbones.checkpoints import StoredTensor
from softprompt_tf.backbones.checkpoints.finite_values import check_finite
from softprompt_tf.backbones.checkpoints.int8_kernel import fill_quantized
from softprompt_tf.backbones.checkpoints.weight_memory import as_tensor, unwritten, without_initializers
from softprompt_tf.backbones.fingerprint import WeightSample, sample_weight, samples_fingerprint
from softprompt_tf.backbones.loading.built_layers import plain_backbone
from softprompt_tf.backbones.loading.spared_garbage import spared_garbage
from softprompt_tf.typing import Tensor

_PLAIN = "keras_hub>T5Backbone"  # the name that Keras has registered for `keras_hub.models.T5Backbone`


def read_preset_backbone(
    directory: Path,
    *,
    dtype: str,
    quantization: str | None = None,
    settings: Mapping[str, Any] | None = None,
    prepare: Callable[[keras_hub.models.T5Backbone], None] = lambda _: None,
) -> tuple[keras_hub.models.T5Backbone, str]:
    """Read the backbone of a preset directory.

    Args:
      directory: holds config.json, and model.weights.h5 or the shards that model.weights.json lists.
      dtype: "float32" or "bfloat16".
      quantization: "int8" or "int4" quantizes every projection as it is read, without a float copy of the model; None leaves
        all in `dtype`.
      settings: arguments of the backbone that take the place of those in config.json.
      prepare: is called with the backbone before its weights are read.

    Returns:
      The backbone, and the fingerprint of its weights before any quantization.

    Raises:
      ValueError, OSError, KeyError, TypeError: as KerasHub, Keras and h5py do, if the directory holds no such preset.
    """
    backbone = without_initializers(lambda: _unfilled(directory, {**(settings or {}), "dtype": dtype}))
    prepare(backbone)
    floats = list(backbone.weights)
    samples: dict[int, WeightSample] = {}
    reading = _Reading(set(), [])
    layers = [layer for layer in backbone._flatten_layers() if not isinstance(layer, keras.Model)]
    for layer in layers:
        layer.load_own_variables = _reader_of(layer, dtype, quantization, samples, reading)
    weights = directory / "model.weights.h5"
    try:
        with spared_garbage():
            backbone.load_weights(str(weights if weights.exists() else weights.with_suffix(".json")))
    except ValueError as error:
        reading.check_values(cause=error)
        raise
    finally:
        for layer in layers:
            del layer.load_own_variables
    reading.check(directory)
    return backbone, samples_fingerprint(samples.get(id(weight)) or sample_weight(weight.value) for weight in floats)


def _unfilled(directory: Path, settings: dict[str, Any]) -> keras_hub.models.T5Backbone:
    """Build the backbone that a preset's config.json describes, with some other settings and without its weights."""
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    if isinstance(config, dict) and config.get("registered_name") == _PLAIN:
        return plain_backbone(**{**config["config"], **settings})
    return keras_hub.models.T5Backbone.from_preset(str(directory), load_weights=False, **settings)


def _reader_of(
    layer: keras.layers.Layer,
    dtype: str,
    quantization: str | None,
    samples: dict[int, WeightSample],
    reading: "_Reading",
) -> Callable[[Any], None]:
    """Return what takes the place of a layer's `load_own_variables`."""
    if quantization and isinstance(layer, keras.layers.Dense):
        return partial(_read_quantized, layer, quantization, samples, reading)
    read = layer.load_own_variables
    return lambda store: read(_Store(store, dtype, reading))


def _read_quantized(
    layer: keras.layers.Dense, quantization: str, samples: dict[int, WeightSample], reading: "_Reading", store: Any
) -> None:
    """Quantize a projection, which has no bias, with the kernel in the file."""
    kernel = layer.kernel
    stored: np.ndarray = store["0"]
    reading.note(_name_in_file(store, "0"), stored)
    if stored.shape != tuple(kernel.shape):
        raise ValueError(
            f"The kernel of {layer.path} must have the shape {tuple(kernel.shape)}. Received: {stored.shape}."
        )
    tensor = StoredTensor(layer.path, stored.shape, stored.__getitem__)
    samples[id(kernel)] = fill_quantized(layer, tensor, quantization)


class _Store:
    """What a preset's file holds of one layer, each weight as a tensor in memory of its own.

    Args:
      store: Keras's, of the layer.
      dtype: of the tensors.
      reading: is told what is read.
    """

    def __init__(self, store: Any, dtype: str, reading: "_Reading"):
        self._store = store
        self._dtype = dtype
        self._reading = reading

    def keys(self) -> Iterable[str]:
        return self._store.keys()

    def __getitem__(self, key: str) -> Tensor:
        stored: np.ndarray = self._store[key]
        value = unwritten(stored.shape, self._dtype)
        value[...] = stored
        self._reading.note(_name_in_file(self._store, key), value)
        return as_tensor(value)


def _name_in_file(store: Any, key: str) -> str:
    """Return the name that the HDF5 file has for a weight (Keras 3.15, `H5IOStore`)."""
    return str(store._h5_entry_group[key].name)


@dataclass(frozen=True)
class _Reading:
    """What was read of a preset's files. Keras hides errors that are raised while it loads, so they wait for the end.

    Args:
      names: of the weights that were read, as the files have them.
      damaged: what is wrong with some of them.
    """

    names: set[str]
    damaged: list[str]

    def note(self, name: str, value: np.ndarray) -> None:
        """Remember a weight that was read."""
        self.names.add(name)
        try:
            check_finite(value)
        except ValueError as error:
            self.damaged.append(f"weight {name}: {error}")

    def check_values(self, cause: Exception | None = None) -> None:
        """Raise ValueError if a weight is damaged."""
        if self.damaged:
            raise ValueError(self.damaged[0]) from cause

    def check(self, directory: Path) -> None:
        """Raise ValueError if a weight is damaged, or the files hold weights that no layer of the model has."""
        self.check_values()
        left_over: list[str] = []

        def visit(name: str, item: Any) -> None:
            # A dropout layer's random state is no weight.
            if isinstance(item, h5py.Dataset) and f"/{name}" not in self.names and "seed_generator" not in name:
                left_over.append(name)

        for path in sorted(directory.glob("model*.weights.h5")):
            with h5py.File(path, "r") as file:
                file.visititems(visit)
        if left_over:
            shown = ", ".join(left_over[:6])
            raise ValueError(f"the model has no place for {len(left_over)} of the file's weights ({shown})")
