"""The frozen output projection against NumPy, and where a head is more than a matrix."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from softprompt_tf.backbones.passes.frozen_head import project_to_vocabulary
from softprompt_tf.backbones.passes.known_layers import has_plain_head

H, V = 6, 40


@pytest.mark.parametrize("lead", [(3,), (2, 5)])
def test_logits_and_their_gradient_are_numpys(lead):
    rng = np.random.default_rng(0)
    matrix, states, upstream = (rng.normal(size=size).astype("float32") for size in ((H, V), (*lead, H), (*lead, V)))
    watched = tf.constant(states)

    with tf.GradientTape() as tape:
        tape.watch(watched)
        logits = project_to_vocabulary(watched, tf.constant(matrix))
    found = tape.gradient(logits, watched, tf.constant(upstream))

    np.testing.assert_allclose(logits, states @ matrix, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found, upstream @ matrix.T, rtol=1e-5, atol=1e-5)


def table(**settings):
    layer = keras.layers.ReversibleEmbedding(V, H, **{"tie_weights": False, **settings})
    layer.build()
    return layer


def patched(layer):
    layer.call = lambda inputs, reverse=False: inputs
    return layer


def subclassed(layer):
    layer.__class__ = type("Mine", (type(layer),), {"call": lambda self, inputs, reverse=False: inputs})
    return layer


def quantized(layer):
    layer.quantize("int8")
    return layer


@pytest.mark.parametrize(
    ("layer", "is_plain"),
    [
        (table, True),
        (lambda: table(tie_weights=True), False),
        (lambda: table(logit_soft_cap=3.0), False),
        (lambda: table(reverse_dtype="float16"), False),
        (lambda: table(dtype="bfloat16"), False),
        (lambda: patched(table()), False),
        (lambda: subclassed(table()), False),
        (lambda: quantized(table()), False),
    ],
)
def test_a_head_is_plain_where_it_is_a_matrix_of_its_own(layer, is_plain):
    backbone = keras.Model()
    backbone.token_embedding = layer()

    assert has_plain_head(backbone) is is_plain


def test_a_changed_head_is_called_in_training_too(two_layer_t5, monkeypatch):
    states = tf.random.stateless_normal((2, 3, two_layer_t5.hidden_dim), seed=(1, 2))
    plain = two_layer_t5.logits(states, tuning=True)
    np.testing.assert_allclose(plain, two_layer_t5.logits(states), rtol=1e-5, atol=1e-5)
    head = two_layer_t5.backbone.token_embedding
    own = head.call

    monkeypatch.setattr(head, "call", lambda inputs, reverse=False: 2.0 * own(inputs, reverse=reverse))

    np.testing.assert_allclose(two_layer_t5.logits(states, tuning=True), 2.0 * plain, rtol=1e-5, atol=1e-5)
