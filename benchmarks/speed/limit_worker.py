"""The worker that measures what the machine can do at all: one matrix product, by the library that TensorFlow uses."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from benchmarks.speed.protocol import serve_standard


def prepare(case: dict[str, Any]) -> tuple[Callable[[], object], dict[str, Any]]:
    """Return a product of two square matrices, and its operations."""
    size, dtype = case["size"], case.get("dtype", "float32")
    a, b = (tf.cast(tf.random.stateless_uniform((size, size), seed=(0, k)), dtype) for k in range(2))
    product = tf.function(tf.matmul)

    def run() -> float:
        return float(product(a, b)[0, 0])

    run()
    return run, {"flops": 2.0 * size**3}


if __name__ == "__main__":
    serve_standard(prepare)
