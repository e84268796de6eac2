"""A checkpoint read straight into int8: what `quantize` makes of the float model, without that model."""

import gc

import answers
import keras
import numpy as np
import pytest
import t5_models
import tensorflow as tf
from tiny_t5 import make_tiny_t5

from softprompt_tf.backbones import load_t5

pytestmark = pytest.mark.thorough

CASE = "t5_1_1"
VARIANT = "byt5"
DTYPES = pytest.mark.parametrize("dtype", ["float32", "bfloat16"])


@pytest.fixture(scope="module")
def int8(hugging_face):
    """A dtype to the model read into int8, computing in that dtype."""
    return {dtype: load_t5(hugging_face(CASE), dtype=dtype, quantization="int8") for dtype in ("float32", "bfloat16")}


@pytest.fixture(scope="module")
def quantized(hugging_face):
    """The float32 model, read and then quantized."""
    t5 = load_t5(hugging_face(CASE))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "collect", lambda: 0)  # Keras calls it for each layer, a third of a second every time
        t5.quantize("int8")
    return t5


def int8_projections(t5):
    """Return the Dense layers, by a name that is the same in every model."""
    found = {}
    for stack in ("encoder", "decoder"):
        for i, layer in enumerate(getattr(t5.backbone, f"{stack}_transformer_layers")):
            for part in layer._flatten_layers():
                if isinstance(part, keras.layers.Dense):
                    found[f"{stack}.{i}.{part.path}"] = part
    return found


def root_mean_square(values):
    return np.sqrt(np.mean(np.square(values, dtype=np.float64)))


def prompt_gradient(t5):
    """Return the gradient [P * H] of a loss on two targets with respect to a prompt."""
    prompt = tf.Variable(t5_models.prompt(CASE))
    with tf.GradientTape() as tape:
        loss = prompt_loss(t5, prompt)
    return tape.gradient(loss, prompt).numpy().ravel()


def prompt_loss(t5, prompt):
    text = t5.embed(tf.constant([[5, 9, 33, 1]]))
    embeddings = tf.concat([tf.cast(prompt, text.dtype)[None], text], axis=1)
    mask = tf.ones((1, t5_models.PROMPT_LENGTH + 4), tf.int32)
    logits = t5.logits(t5.decode(tf.constant([[0, 5]]), t5.encode(embeddings, mask), mask))
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(tf.constant([[5, 1]]), logits))


def test_kernels_and_scales_are_those_of_quantize(int8, quantized):
    ours, theirs = int8_projections(int8["float32"]), int8_projections(quantized)

    assert ours.keys() == theirs.keys()
    assert len(ours) == 2 * (4 + 3) + 2 * (8 + 3)
    for name, layer in ours.items():
        assert layer.kernel.dtype == "int8"
        np.testing.assert_array_equal(layer.kernel, theirs[name].kernel, err_msg=name)
        np.testing.assert_array_equal(layer.kernel_scale, theirs[name].kernel_scale, err_msg=name)


def test_a_kernel_is_the_weight_over_its_columns_largest_value(int8):
    weight = t5_models.weights(CASE)["encoder.block.0.layer.0.SelfAttention.q.weight"].T

    layer = int8["float32"].backbone.encoder_transformer_layers[0].self_attention.query_projector

    steps = np.abs(weight).max(axis=0) / 127  # [N * D]
    kernel = layer.kernel.numpy().astype(np.float64)
    np.testing.assert_array_equal(np.abs(kernel).max(axis=0), 127)
    assert (np.abs(kernel * steps - weight) <= steps * 0.5001).all()
    np.testing.assert_allclose(1 / layer.kernel_scale.numpy(), steps, rtol=1e-5)


def test_in_bfloat16_kernels_are_made_of_the_files_float32_weights(int8):
    ours, theirs = int8_projections(int8["bfloat16"]), int8_projections(int8["float32"])

    for name, layer in ours.items():
        np.testing.assert_array_equal(layer.kernel, theirs[name].kernel, err_msg=name)
        expected = tf.cast(theirs[name].kernel_scale.value, "bfloat16")
        np.testing.assert_array_equal(layer.kernel_scale, expected, err_msg=name)


@DTYPES
def test_only_projections_are_int8(int8, dtype):
    t5 = int8[dtype]
    floats = [variable for variable in t5.backbone.weights if variable.dtype != "int8"]

    assert {str(variable.dtype) for variable in floats} == {dtype}
    assert (t5.compute_dtype, t5.backbone.token_embedding.quantization_mode) == (dtype, None)
    # The table, the head and the two tables of biases are all that is left with two axes.
    assert sum(len(variable.shape) == 2 for variable in floats) == 4


@DTYPES
def test_nothing_of_it_trains(int8, dtype):
    assert int8[dtype].backbone.trainable_variables == []


@DTYPES
def test_the_fingerprint_is_that_of_the_float_model(int8, loaded, dtype):
    assert int8[dtype].fingerprint == loaded(CASE).fingerprint


def test_prompts_are_begun_from_the_float_models_table(int8, loaded):
    np.testing.assert_array_equal(int8["float32"].embedding_table, loaded(CASE).embedding_table)


def test_answers_are_those_of_quantize(int8, quantized):
    ours, theirs = answers.answers(int8["float32"], CASE), answers.answers(quantized, CASE)

    np.testing.assert_allclose(ours[1], theirs[1], atol=1e-5)
    np.testing.assert_array_equal(ours[2], theirs[2])


@DTYPES
def test_logits_are_near_those_of_the_float_model(int8, loaded, dtype):
    """One rounding to int8 costs a column, or a row of inputs, with its largest value at 2.5 to 3 sigma about 0.7 % of its size.

    Two of these for each of about eight projections in a row, independent of each other, make some 3 %.
    """
    expected = answers.answers(loaded(CASE), CASE)[1]

    logits = answers.answers(int8[dtype], CASE)[1]

    apart = root_mean_square(logits - expected) / root_mean_square(expected)
    assert 0.001 < apart < 0.05


@DTYPES
def test_the_gradient_reaches_a_prompt_and_points_where_the_float_models_does(int8, loaded, dtype):
    expected = prompt_gradient(loaded(CASE))

    gradient = prompt_gradient(int8[dtype])

    cosine = gradient @ expected / np.linalg.norm(gradient) / np.linalg.norm(expected)
    assert np.linalg.norm(gradient) == pytest.approx(np.linalg.norm(expected), rel=0.2)
    assert cosine > 0.98


def test_a_variant_is_read_into_int8_too(hugging_face, loaded):
    t5 = load_t5(hugging_face(VARIANT), quantization="int8")

    expected = answers.answers(loaded(VARIANT), VARIANT)[1]
    logits = answers.answers(t5, VARIANT)[1]
    assert t5.fingerprint == loaded(VARIANT).fingerprint
    assert all(layer.kernel.dtype == "int8" for layer in int8_projections(t5).values())
    assert root_mean_square(logits - expected) / root_mean_square(expected) < 0.05


def test_a_preset_is_quantized_after_it_is_read(tmp_path, monkeypatch):
    tiny_t5 = make_tiny_t5(num_layers=1)
    tiny_t5.backbone.save_to_preset(str(tmp_path))
    tiny_t5.tokenizer.save_to_preset(str(tmp_path))
    monkeypatch.setattr(gc, "collect", lambda: 0)  # as above

    t5 = load_t5(tmp_path, quantization="int8")

    assert t5.fingerprint == tiny_t5.fingerprint
    assert t5.backbone.encoder_transformer_layers[0].input_projector.kernel.dtype == "int8"


# === int4 ===


@pytest.fixture(scope="module")
def int4(hugging_face):
    return load_t5(hugging_face(CASE), quantization="int4")


def test_an_int4_kernel_is_half_a_step_from_the_weight_at_most(int4, loaded):
    """A step is a fifteenth of what the values of 128 inputs of an output span, here of all inputs."""
    layers = [t5.backbone.encoder_transformer_layers[0].self_attention.query_projector for t5 in (int4, loaded(CASE))]
    weight = layers[1].kernel.numpy()

    kernel = layers[0](np.eye(weight.shape[0], dtype=np.float32)).numpy()

    step = (weight.max(axis=0) - weight.min(axis=0)) / 15
    assert len(weight) <= 128
    assert np.all(np.abs(kernel - weight) < 0.51 * step + 1e-6)
    assert np.abs(kernel - weight).max() > 0.4 * step.min()
    assert layers[0]._kernel.shape == (weight.shape[0], weight.shape[1] // 2)


def test_the_gradient_of_an_int4_model_is_the_slope_of_its_loss(int4, loaded):
    prompt = t5_models.prompt(CASE)

    gradient = prompt_gradient(int4)

    step = (0.01 * gradient / np.linalg.norm(gradient)).reshape(prompt.shape)
    ahead, behind = (float(prompt_loss(int4, tf.constant(prompt + sign * step))) for sign in (1, -1))
    assert (ahead - behind) / 0.02 == pytest.approx(np.linalg.norm(gradient), rel=0.02)
    assert int4.fingerprint == loaded(CASE).fingerprint
    assert int4.backbone.trainable_variables == []
