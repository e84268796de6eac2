"""Lay a T5 over several devices: layer by layer, in order, so that the fullest device holds as little as possible."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import keras_hub
import numpy as np

from softprompt_tf.backbones.loading.consecutive_parts import consecutive_parts
from softprompt_tf.backbones.passes.placed import Placement, on_device
from softprompt_tf.errors import BackboneError
from softprompt_tf.keras_backend import require_tensorflow
from softprompt_tf.shown_numbers import counted


class DeviceLayout:
    """Lays a T5 over devices as it is loaded, or leaves it to TensorFlow.

    Args:
      devices: as `load_t5` takes them, or None.
      dropout: of the T5.

    Attributes:
      placement: which device holds what, after `apply`; None without devices.

    Raises:
      BackboneError, BackendError: as `checked_devices`.
    """

    def __init__(self, devices: Sequence[str] | None, dropout: float | None):
        self._devices = checked_devices(devices, dropout)
        self.placement: Placement | None = None

    def apply(self, backbone: keras_hub.models.T5Backbone) -> None:
        """Lay out a backbone whose weights are read, or will be; see `lay_out`."""
        if self._devices is not None:
            self.placement = lay_out(backbone, self._devices)

    def on_host(self) -> AbstractContextManager[Any]:
        """Return a scope in which a model is made in the host's memory, until it is laid out; without devices, no scope."""
        return nullcontext() if self._devices is None else on_device("CPU:0")


def checked_devices(devices: Sequence[str] | None, dropout: float | None) -> tuple[str, ...] | None:
    """Return devices by names such as "GPU:0"; None where the T5 lies where TensorFlow puts it.

    Args:
      devices: as `load_t5` takes them.
      dropout: of the T5.

    Raises:
      BackboneError: if a device is unknown or named twice, or goes with dropout or a strategy of several replicas.
      BackendError: under another Keras backend than TensorFlow.
    """
    if devices is None:
        return None
    require_tensorflow("T5s on several devices")
    import tensorflow as tf

    if isinstance(devices, str) or not devices:
        raise BackboneError(f'`devices` must be a list of names, such as ["GPU:0", "GPU:1"]. Received: {devices!r}.')
    known = [_short(device.name) for device in tf.config.list_logical_devices()]
    names = tuple(_short(str(device)) for device in devices)
    for given, name in zip(devices, names, strict=True):
        if name not in known:
            raise BackboneError(f"`devices` must be among {', '.join(known)}. Received: {given!r}.")
    if len(set(names)) != len(names):
        raise BackboneError(f"`devices` must be different ones. Received: {', '.join(names)}.")
    if dropout:
        raise BackboneError(f"A T5 on `devices` must have no dropout. Received: dropout={dropout:g}. Load it with 0.0.")
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if replicas > 1:
        raise BackboneError(
            f"`devices` lays one T5 over several devices, and a strategy puts a copy on each. Received: a strategy of {replicas} "
            "replicas. Use one of both."
        )
    return names


def lay_out(backbone: keras_hub.models.T5Backbone, devices: Sequence[str]) -> Placement:
    """Move every weight of a backbone to its device, one at a time, and return which is where.

    The embedding table is on the first device, and an output projection that is not tied to it on the last one.

    Args:
      backbone: whose weights may be unwritten zeros on the CPU, which take no memory there.
      devices: as `checked_devices` returns them.

    Raises:
      BackboneError: if there are more devices than layers.
    """
    placement = _plan(backbone, tuple(devices))
    move_home(backbone, placement)
    return placement


def move_home(backbone: keras_hub.models.T5Backbone, placement: Placement) -> None:
    """Move every weight that is elsewhere to its device, such as those that quantization has made."""
    for variable, device in _homes(backbone, placement):
        _move(variable, device)


def bytes_by_device(backbone: keras_hub.models.T5Backbone) -> dict[str, int]:
    """Return the bytes of the weights on each device, by its short name."""
    found: dict[str, int] = {}
    for variable in backbone.weights:
        device = _short(variable.value.device)
        found[device] = found.get(device, 0) + _bytes([variable])
    return dict(sorted(found.items()))


def _plan(backbone: keras_hub.models.T5Backbone, devices: tuple[str, ...]) -> Placement:
    encoder, decoder = backbone.encoder_transformer_layers, backbone.decoder_transformer_layers
    layers = [*encoder, *decoder]
    if len(devices) > len(layers):
        raise BackboneError(
            f"A device must hold at least one layer. Received: {counted(len(devices), 'device')} for "
            f"{counted(len(layers), 'layer')}. Name fewer."
        )
    table = backbone.token_embedding
    sizes = [_bytes(layer.weights) for layer in layers]
    sizes[0] += _bytes([table.embeddings])
    if not backbone.tie_embedding_weights:
        sizes[-1] += _bytes([table.reverse_embeddings])
    ends = consecutive_parts(tuple(sizes), len(devices))
    of_layers = [devices[sum(end <= place for end in ends)] for place in range(len(layers))]
    head = devices[0] if backbone.tie_embedding_weights else devices[-1]
    return Placement(devices[0], tuple(of_layers[: len(encoder)]), tuple(of_layers[len(encoder) :]), head)


def _homes(backbone: keras_hub.models.T5Backbone, placement: Placement) -> list[tuple[keras.Variable, str]]:
    """Return every weight with its device."""
    table = backbone.token_embedding
    homes = [(table.embeddings, placement.table)]
    if not backbone.tie_embedding_weights:
        homes.append((table.reverse_embeddings, placement.head))
    for stack in ("encoder", "decoder"):
        devices = getattr(placement, stack)
        for layer, device in zip(getattr(backbone, f"{stack}_transformer_layers"), devices, strict=True):
            homes.extend((variable, device) for variable in layer.weights)
        homes.extend((variable, devices[-1]) for variable in getattr(backbone, f"{stack}_layer_norm").weights)
    return homes


def _move(variable: keras.Variable, device: str) -> None:
    """Give a Keras variable a TensorFlow variable on a device; what it had before is freed."""
    import tensorflow as tf

    variable.trainable = False  # TensorFlow takes no custom gradient of a block that reads a trainable variable
    if _short(variable.value.device) != device or variable.value.trainable:
        with tf.device(device):
            variable._initialize(variable.value.read_value())


def _bytes(variables: Sequence[Any]) -> int:
    import tensorflow as tf

    return sum(int(np.prod(each.shape)) * int(tf.as_dtype(each.dtype).size) for each in variables)


def _short(name: str) -> str:
    """Return "GPU:1" of "/job:localhost/replica:0/task:0/device:GPU:1", "/GPU:1" or "gpu:1"."""
    return name.upper().rsplit("/", 1)[-1].removeprefix("DEVICE:")
