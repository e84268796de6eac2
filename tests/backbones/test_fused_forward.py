"""The fused forward pass against KerasHub's own layers: logits and gradients, for each form of T5, and its two gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from softprompt_tf.backbones.loading.built_layers import plain_backbone
from softprompt_tf.backbones.passes import fused_forward
from softprompt_tf.backbones.passes.fused_forward import FusedForward

pytestmark = pytest.mark.thorough

TANH_GELU = keras.saving.get_registered_object("keras_hub>gelu_approximate")
V, B, T, U = 50, 3, 9, 6
FORMS = {
    "t5_1.1": {"activation": TANH_GELU, "use_gated_activation": True, "tie_embedding_weights": False},
    "t5_1.0": {"activation": "relu", "use_gated_activation": False, "tie_embedding_weights": True},
    "gated_relu": {"activation": "relu", "use_gated_activation": True, "tie_embedding_weights": False},
    "gated_erf_gelu": {"activation": "gelu", "use_gated_activation": True, "tie_embedding_weights": True},
}


def make_backbone(form):
    keras.utils.set_random_seed(4)
    backbone = plain_backbone(
        vocabulary_size=V, num_layers=2, num_heads=2, hidden_dim=16, intermediate_dim=24, key_value_dim=6,
        dropout=0.3, **FORMS[form],
    )  # fmt: skip
    rng = np.random.default_rng(1)
    for weight in backbone.weights:  # norms and position biases too, which start at one and near zero
        if "norm" in weight.path or "attention/embeddings" in weight.path:
            weight.assign(weight.numpy() + rng.normal(0, 0.5, weight.shape))
    return backbone


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    mask = (np.arange(T) < np.array([[9], [4], [7]])).astype("int32")
    return {
        "encoder_token_ids": rng.integers(3, V, (B, T)).astype("int32") * mask,
        "encoder_padding_mask": mask,
        "decoder_token_ids": rng.integers(3, V, (B, U)).astype("int32"),
    }


def by_the_layers(backbone, rows):
    outputs = backbone({**rows, "decoder_padding_mask": np.ones((B, U), "int32")}, training=False)
    states = outputs["decoder_sequence_output"]
    if backbone.tie_embedding_weights:
        states = states * 16**-0.5
    return tf.reshape(backbone.token_embedding(states, reverse=True), (-1, V))


def by_the_fused_pass(backbone, rows, dtype="float32"):
    forward = FusedForward(backbone, dtype=dtype)
    encoded = forward.encode(rows["encoder_token_ids"], rows["encoder_padding_mask"])
    return forward.logits(forward.decode(rows["decoder_token_ids"], encoded, rows["encoder_padding_mask"]))


def gradients(compute, backbone, rows):
    weights = tf.constant(np.random.default_rng(5).normal(size=(B * U, V)), tf.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.nn.log_softmax(compute(backbone, rows)) * weights)
    found = tape.gradient(loss, backbone.trainable_variables)
    return {
        variable.path: tf.convert_to_tensor(gradient).numpy()
        for variable, gradient in zip(backbone.trainable_variables, found, strict=True)
    }


@pytest.mark.parametrize("form", FORMS)
def test_logits_are_those_of_the_layers(form, rows):
    backbone = make_backbone(form)

    np.testing.assert_allclose(by_the_fused_pass(backbone, rows), by_the_layers(backbone, rows), rtol=0, atol=2e-5)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_those_of_the_layers(form, rows):
    backbone = make_backbone(form)

    expected = gradients(by_the_layers, backbone, rows)
    found = gradients(by_the_fused_pass, backbone, rows)

    assert found.keys() == expected.keys()
    for path, gradient in expected.items():
        assert np.abs(gradient).max() > 0, path
        np.testing.assert_allclose(found[path], gradient, rtol=0, atol=2e-3 * np.abs(gradient).max(), err_msg=path)


def test_bfloat16_is_near_float32(rows):
    backbone = make_backbone("t5_1.1")

    exact, rounded = (by_the_fused_pass(backbone, rows, dtype).numpy() for dtype in ("float32", "bfloat16"))

    assert rounded.dtype == np.float32
    assert np.abs(rounded - exact).max() < 0.05 * np.abs(exact).max()
    assert np.abs(rounded - exact).max() > 0


def test_what_stands_at_padding_changes_nothing(rows):
    backbone = make_backbone("t5_1.1")
    other = {**rows, "encoder_token_ids": np.where(rows["encoder_padding_mask"], rows["encoder_token_ids"], 7)}

    np.testing.assert_allclose(by_the_fused_pass(backbone, other), by_the_fused_pass(backbone, rows), rtol=0, atol=1e-6)


def differences(function, x, upstream, step=1e-3):
    """Return the gradient of sum(function(x) * upstream) by central differences; the norm computes in float32."""
    slopes = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[place] += sign * step
            ends.append((function(tf.constant(moved)).numpy() * upstream).sum())
        slopes[place] = (ends[0] - ends[1]) / (2 * step)
    return slopes


@pytest.mark.parametrize(
    ("function", "width"),
    [
        (lambda x: fused_forward._rms_normed(x, 1e-6), 5),
        (fused_forward._gelu_gated, 6),
        (lambda x: fused_forward._gated(x, keras.activations.gelu), 6),
        (lambda x: fused_forward._gated(x, keras.activations.silu), 6),
    ],
    ids=["rms_norm", "gelu_gated", "exact_gelu_gated", "silu_gated"],
)
def test_hand_made_gradients_agree_with_differences(function, width):
    rng = np.random.default_rng(2)
    x = rng.normal(0, 1.5, (4, width))
    upstream = rng.normal(size=function(tf.constant(x)).shape)

    with tf.GradientTape() as tape:
        inputs = tf.constant(x)
        tape.watch(inputs)
        total = tf.reduce_sum(function(inputs) * upstream)

    np.testing.assert_allclose(tape.gradient(total, inputs), differences(function, x, upstream), rtol=0, atol=5e-4)
