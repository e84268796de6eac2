"""Activations with slopes of their own: values against formulas from the papers, slopes against differences."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from softprompt_tf.backbones.passes.activations import ACTIVATIONS, activation_of
from softprompt_tf.backbones.passes.frozen_feed_forward import Gated, Plain

TANH_GELU = keras.saving.get_registered_object("keras_hub>gelu_approximate")
# Hendrycks and Gimpel 2016, arXiv:1606.08415: x Phi(x), and its approximation by tanh.
FORMULAS = {
    "gelu": lambda x: 0.5 * x * (1 + math.erf(x / math.sqrt(2))),
    "gelu_approximate": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: max(x, 0.0),
    "silu": lambda x: x / (1 + math.exp(-x)),
}
POINTS = np.concatenate([np.linspace(-7, 7, 57), [-30.0, 30.0, 1e-6]])
DTYPES = [("float32", 2e-6), ("bfloat16", 0.02)]  # bfloat16 has 8 bits


@pytest.mark.parametrize(("dtype", "error"), DTYPES)
@pytest.mark.parametrize("name", FORMULAS)
def test_the_share_times_the_input_is_the_activation(name, dtype, error):
    x = tf.cast(tf.constant(POINTS), dtype)

    found = tf.cast(x * ACTIVATIONS[name].share(x), "float64").numpy()

    expected = [FORMULAS[name](value) for value in tf.cast(x, "float64").numpy()]
    np.testing.assert_allclose(found, expected, rtol=error, atol=error)


@pytest.mark.parametrize(("dtype", "error"), DTYPES)
@pytest.mark.parametrize("name", FORMULAS)
def test_the_slope_is_that_of_the_formula(name, dtype, error):
    x = tf.cast(tf.constant(POINTS[POINTS != 0]), dtype)

    found = tf.cast(ACTIVATIONS[name].slope(x, ACTIVATIONS[name].share(x)), "float64").numpy()

    step = 1e-7
    expected = [
        (FORMULAS[name](value + step) - FORMULAS[name](value - step)) / (2 * step)
        for value in tf.cast(x, "float64").numpy()
    ]
    np.testing.assert_allclose(found, expected, rtol=0, atol=max(2 * error, 1e-5))


@pytest.mark.parametrize(("dtype", "share"), [("float32", 1e-5), ("bfloat16", 0.03)])
@pytest.mark.parametrize("is_gated", [True, False], ids=["gated", "plain"])
@pytest.mark.parametrize("name", FORMULAS)
def test_the_gradient_of_a_block_is_the_automatic_one(name, is_gated, dtype, share):
    rng = np.random.default_rng(3)
    scale, kernel, gate = 1 + 0.3 * rng.normal(size=8), rng.normal(size=(8, 24)), rng.normal(size=(8, 24))
    back, states = rng.normal(size=(24, 8)), rng.normal(size=(5, 8))
    upstream = rng.normal(size=(5, 8))

    def exact(x):
        normed = x / tf.sqrt(tf.reduce_mean(x * x, axis=-1, keepdims=True) + 1e-6) * scale
        function = {"gelu_approximate": TANH_GELU}.get(name) or keras.activations.get(name)
        hidden = function(normed @ kernel)
        return x + (hidden * (normed @ gate) if is_gated else hidden) @ back

    with tf.GradientTape() as tape:
        x = tf.constant(states)
        tape.watch(x)
        expected = exact(x)
    expected_gradient = tape.gradient(expected, x, tf.constant(upstream)).numpy()

    weights = [tf.cast(tf.constant(weight), dtype) for weight in (scale, kernel, gate, back)]
    block = Gated(ACTIVATIONS[name], *weights) if is_gated else Plain(ACTIVATIONS[name], *weights[:2], weights[3])
    found, kept = block.forward(tf.cast(states, dtype), 1e-6)
    gradient = block.gradient(tf.cast(upstream, dtype), kept)

    for ours, right in ((found, expected.numpy()), (gradient, expected_gradient)):
        assert ours.dtype == dtype
        np.testing.assert_allclose(tf.cast(ours, "float64"), right, rtol=0, atol=share * np.abs(right).max())


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (TANH_GELU, "gelu_approximate"),
        (lambda x: ops.gelu(x, approximate=True), "gelu_approximate"),
        (keras.activations.get("gelu"), "gelu"),
        (keras.activations.get("relu"), "relu"),
        (keras.activations.get("swish"), "silu"),
        (keras.layers.ReLU(), "relu"),
    ],
)
def test_an_activation_is_known_by_its_values(function, name):
    assert activation_of(function).name == name


@pytest.mark.parametrize(
    "function",
    [
        keras.activations.get("tanh"),
        keras.activations.get("elu"),
        keras.activations.get("quick_gelu") if hasattr(keras.activations, "quick_gelu") else keras.activations.linear,
        lambda x: ops.gelu(x) * 1.001,
        lambda x: ops.softmax(x[:, :, None]),
    ],
)
def test_another_function_is_not_known(function):
    assert activation_of(function) is None


def test_a_function_that_is_first_met_while_a_graph_is_traced_is_known_there():
    def relu(x):
        return ops.relu(x)

    found = []
    tf.function(lambda: found.append(activation_of(relu)) or tf.constant(0))()

    assert [activation.name for activation in found] == ["relu"]
