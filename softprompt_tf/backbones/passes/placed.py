"""Run the parts of a T5 on the devices that hold their weights, forward and backward, where it is laid over several devices.

TensorFlow runs an operation that names no device on the first one, and copies a layer's weights there. So each part of the passes
names its device, and its gradient is taken under that name too. Only states cross from one device to the next.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import keras

from softprompt_tf.typing import Tensor

_NAMES_DEVICES = ContextVar("names_devices", default=True)


@dataclass(frozen=True)
class Placement:
    """Which device holds what of a T5, by names such as "GPU:0".

    Args:
      table: the device of the embedding table.
      encoder, decoder: the device of each layer.
      head: the device of the output projection; a tied one is the table.
    """

    table: str
    encoder: tuple[str, ...]
    decoder: tuple[str, ...]
    head: str

    @property
    def devices(self) -> tuple[str, ...]:
        """All of them, in the order of the layers."""
        return tuple(dict.fromkeys((self.table, *self.encoder, *self.decoder, self.head)))


def on_device(device: str | None) -> AbstractContextManager[Any]:
    """Return a scope whose operations run on a device; None names none."""
    if device is None or not _NAMES_DEVICES.get():
        return nullcontext()
    import tensorflow as tf

    return tf.device(device)


def beside(variable: Any) -> AbstractContextManager[Any]:
    """Return a scope whose operations run on the device of a TensorFlow variable or tensor; of anything else, no scope."""
    return on_device(getattr(variable, "device", None) or None)


@contextmanager
def without_devices() -> Iterator[None]:
    """Trace graphs that name no device, as an export must run where there are others."""
    token = _NAMES_DEVICES.set(False)
    try:
        yield
    finally:
        _NAMES_DEVICES.reset(token)


def placed(device: str | None, run: Callable[..., Any], *, has_gradient: bool = True) -> Callable[..., Any]:
    """Return a function whose operations run on a device, and so do those of its gradient.

    Args:
      device: its name; None changes nothing.
      run: tensors -> a tensor, or a tuple of tensors. With `has_gradient`, gradients reach these tensors and nothing else.
      has_gradient: whether gradients may be asked for.
    """
    if device is None or not _NAMES_DEVICES.get():
        return run

    def forward(*inputs: Tensor) -> Any:
        with on_device(device):
            return run(*inputs)

    def differentiable(*inputs: Tensor) -> Any:
        if any(isinstance(each, keras.KerasTensor) for each in inputs):
            return run(*inputs)
        with on_device(device):
            return _with_gradient(device, run)(*inputs)

    return differentiable if has_gradient else forward


def _with_gradient(device: str, run: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that takes its gradient by a tape of its own, under the device's name."""
    import tensorflow as tf

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def with_gradient(*inputs: Tensor) -> tuple[Any, object]:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = run(*inputs)

        def gradient(*upstream: Tensor) -> Any:
            with tf.device(device):
                found = tape.gradient(outputs, inputs, upstream, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            return found if len(inputs) > 1 else found[0]

        return outputs, gradient

    return with_gradient
