"""Layers of the small networks that make a prompt while it is trained, as functions of named variables."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from softprompt_tf.methods.family.method import Shapes


def dense_shapes(name: str, inputs: int, outputs: int) -> Shapes:
    """Return the shapes of a dense layer's variables."""
    return {f"{name}.kernel": (inputs, outputs), f"{name}.bias": (outputs,)}


def dense(variables: Mapping[str, Any], name: str, values: Any) -> Any:
    """Return the output [K, P, outputs] of a dense layer for [K, P, inputs]."""
    from keras import ops

    return ops.matmul(values, variables[f"{name}.kernel"]) + variables[f"{name}.bias"][..., None, :]


def draw_dense(generator: np.random.Generator, shapes: Shapes) -> dict[str, np.ndarray]:
    """Return first values of a dense layer's variables: uniform, up to 1 over the root of its inputs, as torch draws them."""
    inputs = next(shape[0] for name, shape in shapes.items() if name.endswith(".kernel"))
    return {name: draw_uniform(generator, shape, inputs**-0.5) for name, shape in shapes.items()}


def draw_uniform(generator: np.random.Generator, shape: tuple[int, ...], limit: float) -> np.ndarray:
    """Return float32 values in [-limit, limit)."""
    return generator.uniform(-limit, limit, shape).astype(np.float32)


def draw_normal(generator: np.random.Generator, shape: tuple[int, ...], deviation: float = 1.0) -> np.ndarray:
    """Return float32 values around 0."""
    return (deviation * generator.standard_normal(shape)).astype(np.float32)


def draw_ways_down(shapes: Shapes, seed: int) -> dict[str, np.ndarray]:
    """Return first values of bottlenecks that add nothing yet: what ends in ".down" is drawn, 1 over the root of its inputs, and
    all else is 0.
    """
    generator = np.random.Generator(np.random.Philox(seed))
    return {
        name: draw_normal(generator, shape, shape[-1] ** -0.5)
        if name.endswith(".down")
        else np.zeros(shape, np.float32)
        for name, shape in shapes.items()
    }


def folded_units(variables: Mapping[str, Any], name: str, *, axis: int) -> Any:
    """Put the values of each unit of a bottleneck beside each other, and the bias of the way up into a unit of its own.

    That unit has the ways and the bias 0 and gives 1, so that its way up is the bias.

    Args:
      variables: NAME.down [..., R, ..., F_in], NAME.down_bias [..., R, ...], NAME.up [..., R, ..., F_out] and NAME.up_bias
        [..., 1, ..., F_out].
      name: as above.
      axis: of the units, from the end.

    Returns:
      [..., R + 1, ..., F_in + F_out + 2].
    """
    from keras import ops

    down, bias, up, up_bias = (variables[f"{name}.{part}"] for part in ("down", "down_bias", "up", "up_bias"))
    units = ops.concatenate([down, up, bias[..., None], ops.zeros_like(bias)[..., None]], axis=-1)
    nothing = ops.zeros_like(up_bias[..., :1])
    no_way_down = ops.zeros((*up_bias.shape[:-1], down.shape[-1]), dtype=up_bias.dtype)
    last = ops.concatenate([no_way_down, up_bias, nothing, nothing + 1.0], axis=-1)
    return ops.concatenate([units, last], axis=axis)


def lstm_shapes(name: str, inputs: int, outputs: int) -> Shapes:
    """Return the shapes of an LSTM's variables; its four gates stand side by side: input, forget, new values, output."""
    return {
        f"{name}.kernel": (inputs, 4 * outputs),
        f"{name}.recurrent_kernel": (outputs, 4 * outputs),
        f"{name}.bias": (4 * outputs,),
    }


def draw_lstm(generator: np.random.Generator, shapes: Shapes) -> dict[str, np.ndarray]:
    """Return first values of an LSTM's variables: uniform, up to 1 over the root of its outputs, as torch draws them."""
    outputs = next(shape[0] for name, shape in shapes.items() if name.endswith(".recurrent_kernel"))
    return {name: draw_uniform(generator, shape, outputs**-0.5) for name, shape in shapes.items()}


def lstm(variables: Mapping[str, Any], name: str, values: Any, *, is_reversed: bool = False) -> Any:
    """Return the states [K, P, outputs] of an LSTM that reads [K, P, inputs] from the first row on, or from the last one."""
    from keras import ops

    kernel, recurrent_kernel, bias = (variables[f"{name}.{part}"] for part in ("kernel", "recurrent_kernel", "bias"))
    entering = ops.matmul(values, kernel) + bias[..., None, :]  # [K, P, 4 * outputs]
    state = carry = ops.zeros_like(entering[..., :1, : recurrent_kernel.shape[-2]])  # [K, 1, outputs]
    states = []
    for position in sorted(range(values.shape[-2]), reverse=is_reversed):
        gates = entering[..., position : position + 1, :] + ops.matmul(state, recurrent_kernel)
        enter, forget, new, leave = ops.split(gates, 4, axis=-1)
        carry = ops.sigmoid(forget) * carry + ops.sigmoid(enter) * ops.tanh(new)
        state = ops.sigmoid(leave) * ops.tanh(carry)
        states.append(state)
    return ops.concatenate(states[::-1] if is_reversed else states, axis=-2)
