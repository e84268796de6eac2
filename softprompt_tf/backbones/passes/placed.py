"""Run the parts of a T5 on the devices that hold their weights, forward and backward, where it is laid over several devices.

TensorFlow runs an operation that names no device on the first one, and copies a layer's weights there. So each part of the passes
names its device, and its gradient is taken under that name too. Only states cross from one device to the next.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import keras

from softprompt_tf.keras_backend import is_tensorflow
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


def devices_of(placement: Placement | None, stack: str, depth: int) -> Sequence[str | None]:
    """Return the device of each of the `depth` layers of a stack, "encoder" or "decoder"; None where none is named."""
    return [None] * depth if placement is None else getattr(placement, stack)


def on_device(device: str | None) -> AbstractContextManager[Any]:
    """Return a scope whose operations run on a device; None names none."""
    if device is None or not _NAMES_DEVICES.get():
        return nullcontext()
    import tensorflow as tf

    return tf.device(device)


def beside(variable: Any) -> AbstractContextManager[Any]:
    """Return a scope whose operations run on the device of a TensorFlow variable or tensor; under another backend, no scope."""
    return on_device(variable.device or None) if is_tensorflow() else nullcontext()


@contextmanager
def without_devices() -> Iterator[None]:
    """Trace graphs that name no device, as an export must run where there are others."""
    token = _NAMES_DEVICES.set(False)
    try:
        yield
    finally:
        _NAMES_DEVICES.reset(token)


def placed(
    device: str | None, run: Callable[..., Any], *, has_gradient: bool = True, waits: bool = False
) -> Callable[..., Any]:
    """Return a function whose operations run on a device, and so do those of its gradient.

    Args:
      device: its name; None names none.
      run: tensors -> a tensor, or a tuple of tensors. With `has_gradient`, gradients reach these tensors and nothing else.
      has_gradient: whether gradients may be asked for.
      waits: whether a graph starts no operation of it before its inputs are there, and none of its gradient before what that
        takes. TensorFlow runs what is ready: the quantized kernels of all layers would be there as floats from the start of a step.
    """
    waits = waits and has_gradient and is_tensorflow()
    if not _NAMES_DEVICES.get() or (device is None and not waits):
        return run

    def forward(*inputs: Tensor) -> Any:
        with on_device(device):
            return run(*inputs)

    def differentiable(*inputs: Tensor) -> Any:
        if any(isinstance(each, keras.KerasTensor) for each in inputs):
            return run(*inputs)
        with on_device(device):
            return _with_gradient(device, run, waits)(*inputs)

    return differentiable if has_gradient else forward


def _with_gradient(device: str | None, run: Callable[..., Any], waits: bool) -> Callable[..., Any]:
    """Return a function that takes its gradient by a tape of its own, under the device's name; variables get none."""
    import tensorflow as tf

    def after(tensors: Any) -> AbstractContextManager[Any]:
        return tf.control_dependencies(tensors) if waits else nullcontext()

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def with_gradient(*inputs: Tensor) -> tuple[Any, object]:
        with tf.GradientTape(watch_accessed_variables=False) as tape, after(inputs):
            tape.watch(inputs)
            outputs = run(*inputs)

        def gradient(*upstream: Tensor, variables: Any = None) -> Any:
            with on_device(device), after(upstream):
                found = tape.gradient(outputs, inputs, upstream, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            found = found if len(inputs) > 1 else found[0]
            return found if variables is None else (found, [None] * len(variables))

        return outputs, gradient

    return with_gradient
