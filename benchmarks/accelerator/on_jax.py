"""Run a function that reads Keras variables under `jax.jit`, with their values as arguments and not as constants."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import keras

from benchmarks.accelerator.precisions import Precision


def with_values(function: Callable[..., Any], variables: Sequence[keras.Variable]) -> Callable[..., Any]:
    """Return `function` with one argument more in front: the values that the variables have inside."""

    def run(values: Sequence[Any], *arguments: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function(*arguments)

    return run


def compiled(function: Callable[..., Any], variables: Sequence[keras.Variable]) -> Callable[..., Any]:
    """Return `function` compiled; it reads the variables' values of now."""
    values = [variable.value for variable in variables]
    run = jax.jit(with_values(function, variables))
    return lambda *arguments: run(values, *arguments)


def set_precision(precision: Precision) -> None:
    """Set how JAX computes matrix products of float32 values from now on."""
    jax.config.update("jax_default_matmul_precision", precision.jax)


def peak_bytes() -> int | None:
    """Return the largest memory that this process has held on the device so far; None where JAX does not count it."""
    statistics = jax.devices()[0].memory_stats() or {}
    return statistics.get("peak_bytes_in_use")


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    """Return what `run` returns, once it is computed, and the seconds that this took."""
    start = time.perf_counter()
    result = jax.block_until_ready(run())
    return result, time.perf_counter() - start
