"""The activations of published T5s as a forward pass and a slope, so that a block can have a gradient of its own.

Each of them is `x * share(x)`: the share of x that passes. What a gradient needs again is that share, and no other.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from softprompt_tf.keras_backend import is_tensorflow
from softprompt_tf.typing import Tensor

_TANH_LINEAR = 1.5957691216057308  # 2 sqrt(2 / pi): GELU in its tanh form is x * sigmoid(x * (linear + cubic * x^2))
_TANH_CUBIC = 0.07135481282803774  # 0.044715 times that
_ROOT_HALF = 0.7071067811865476  # sqrt(1 / 2)
_DENSITY_AT_0 = 0.3989422804014327  # 1 / sqrt(2 pi)
_POINTS = np.linspace(-6.0, 6.0, 121)


class Activation(NamedTuple):
    """One activation.

    Args:
      name: "gelu_approximate" (GELU in its tanh form), "gelu" (the exact form), "relu" or "silu".
      share: of inputs [...] the part of each that passes, [...].
      slope: of inputs and their share, the derivative of the activation.
    """

    name: str
    share: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor, Tensor], Tensor]


def activation_of(function: Any) -> Activation | None:
    """Return what a Keras activation computes, by its values at 121 points; None for another function than the four."""
    if id(function) not in _KNOWN:
        try:
            with _outside_of_graphs():
                values = ops.convert_to_numpy(function(ops.convert_to_tensor(_POINTS, dtype="float32")))
        except Exception:  # somebody's function, which may want another shape
            return None
        _KNOWN[id(function)] = (function, _by_values(values))
    return _KNOWN[id(function)][1]


# === The four ===


def _in_float32(share: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Compute a share of 16-bit inputs in float32: TensorFlow's sigmoid in bfloat16 takes three times as long on a CPU."""

    def of(x: Tensor) -> Tensor:
        return ops.cast(share(ops.cast(x, "float32")), x.dtype)

    return of


@_in_float32
def _tanh_share(x: Tensor) -> Tensor:
    return ops.sigmoid(x * (_TANH_LINEAR + _TANH_CUBIC * (x * x)))


def _tanh_slope(x: Tensor, share: Tensor) -> Tensor:
    slope = x * (_TANH_LINEAR + (3 * _TANH_CUBIC) * (x * x))
    return share * (1.0 + slope * (1.0 - share))


def _normal_share(x: Tensor) -> Tensor:
    """Phi(x), the distribution function of the standard normal distribution."""
    return 0.5 * ops.erf(x * _ROOT_HALF) + 0.5


def _normal_slope(x: Tensor, share: Tensor) -> Tensor:
    """Phi(x) + x phi(x), phi its density."""
    return share + x * (_DENSITY_AT_0 * ops.exp(-0.5 * (x * x)))


def _step(x: Tensor) -> Tensor:
    return ops.cast(x > 0, x.dtype)


def _silu_slope(x: Tensor, share: Tensor) -> Tensor:
    return share * (1.0 + x * (1.0 - share))


ACTIVATIONS = {
    activation.name: activation
    for activation in (
        Activation("gelu_approximate", _tanh_share, _tanh_slope),
        Activation("gelu", _normal_share, _normal_slope),
        Activation("relu", _step, lambda x, share: share),
        Activation("silu", _in_float32(ops.sigmoid), _silu_slope),
    )
}

# === Telling them apart ===

_KNOWN: dict[int, tuple[Any, Activation | None]] = {}  # by identity; the function is kept, so that no other gets its id


def _outside_of_graphs() -> Any:
    """Return a context in which values are computed at once, also while a graph is traced."""
    if is_tensorflow():
        import tensorflow as tf

        return tf.init_scope()
    import jax

    return jax.ensure_compile_time_eval()


def _by_values(found: np.ndarray) -> Activation | None:
    for name, values in _VALUES.items():
        if found.shape == values.shape and np.abs(found - values).max() < 1e-5:
            return ACTIVATIONS[name]
    return None


def _values(share: Callable[[float], float]) -> np.ndarray:
    return np.array([x * share(x) for x in _POINTS])


def _sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


_VALUES = {
    "gelu_approximate": _values(lambda x: _sigmoid(x * (_TANH_LINEAR + _TANH_CUBIC * x * x))),
    "gelu": _values(lambda x: 0.5 + 0.5 * math.erf(x * _ROOT_HALF)),
    "relu": _values(lambda x: float(x > 0)),
    "silu": _values(_sigmoid),
}
