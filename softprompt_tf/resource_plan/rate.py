"""Measure how fast this machine multiplies matrices of a T5's shapes."""

import time
from typing import Any

from softprompt_tf.resource_plan.backbone_form import BackboneForm

_MOST_OPERATIONS = 2e10  # of one product
_SECONDS = 0.3  # of each shape
_POSITIONS, _LENGTH = 2048, 128


def measured_rate(form: BackboneForm, *, dtype: str = "float32") -> float:
    """Return floating point operations per second of the products of one encoder layer; it takes about a second.

    Other work on the machine makes it lower. A step has more than products, so it takes longer.
    """
    import tensorflow as tf

    sizes = form.sizes
    fitting = int(_MOST_OPERATIONS / (2 * sizes.hidden_dim * max(sizes.feed_forward_dim, form.inner_dim)))
    positions = max(64, min(_POSITIONS, fitting))
    shapes = {
        (positions, sizes.hidden_dim, form.inner_dim): 4,
        (positions, sizes.hidden_dim, sizes.feed_forward_dim): form.feed_forward_kernels,
    }
    operations = {shape: times * 2.0 * shape[0] * shape[1] * shape[2] for shape, times in shapes.items()}
    products = {shape: _rate(tf, (shape[0], shape[1]), (shape[1], shape[2]), dtype) for shape in shapes}
    rows = max(1, positions // _LENGTH) * sizes.num_heads
    of_heads = 4.0 * rows * _LENGTH * _LENGTH * sizes.head_dim
    seconds = sum(operations[shape] / products[shape] for shape in shapes)
    seconds += of_heads / _rate(tf, (rows, _LENGTH, sizes.head_dim), (rows, sizes.head_dim, _LENGTH), dtype)
    return (sum(operations.values()) + of_heads) / seconds


def _rate(tf: Any, left: tuple[int, ...], right: tuple[int, ...], dtype: str) -> float:
    a, b = (tf.cast(tf.random.stateless_uniform(shape, seed=(0, 1)), dtype) for shape in (left, right))

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def product() -> Any:
        return tf.reduce_sum(tf.matmul(a, b)[..., :1, :1])

    product().numpy()
    operations = 2.0 * right[-1]
    for size in left:
        operations *= size
    best, started = float("inf"), time.perf_counter()
    while time.perf_counter() - started < _SECONDS:
        begun = time.perf_counter()
        product().numpy()
        best = min(best, time.perf_counter() - begun)
    return operations / best
