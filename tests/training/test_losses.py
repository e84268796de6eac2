"""TargetCrossEntropy against numbers worked out by hand and by NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from softprompt_tf.errors import ConfigError
from softprompt_tf.training.losses import TargetCrossEntropy

TARGETS = np.array([[3, 1, 0, 0], [2, 4, 1, 0]], "int32")
LOGITS = np.random.default_rng(0).normal(size=(2, 4, 6)).astype("float32") * 3


def numpy_token_losses(targets, logits, z_loss, label_smoothing):
    """T5X's definition, one token after the other, in float64."""
    vocabulary = logits.shape[-1]
    confidence = 1.0 - label_smoothing
    low = (1.0 - confidence) / (vocabulary - 1)
    constant = -(confidence * np.log(confidence) + (vocabulary - 1) * low * np.log(low + 1e-20))
    losses = np.zeros(targets.shape)
    for position in np.ndindex(targets.shape):
        row = logits[position].astype("float64")
        log_z = np.log(np.sum(np.exp(row)))
        soft = np.full(vocabulary, low)
        soft[targets[position]] = confidence
        losses[position] = -np.sum(soft * (row - log_z)) + z_loss * log_z**2 - constant
    return losses


def numpy_mean(targets, logits, z_loss=1e-4, label_smoothing=0.0, weights=1.0):
    mask = (targets != 0) * np.broadcast_to(weights, targets.shape)
    return np.sum(numpy_token_losses(targets, logits, z_loss, label_smoothing) * mask) / np.sum(mask)


def test_uniform_logits_cost_log_of_the_vocabulary_plus_z_loss():
    logits = np.zeros((1, 2, 4), "float32")

    value = TargetCrossEntropy(z_loss=0.5)([[1, 2]], logits)

    assert float(value) == pytest.approx(np.log(4) + 0.5 * np.log(4) ** 2, rel=1e-6)


@pytest.mark.parametrize(("z_loss", "smoothing"), [(0.0, 0.0), (1e-4, 0.0), (0.1, 0.0), (0.0, 0.1), (1e-2, 0.3)])
def test_mean_per_target_token_equals_t5x_definition(z_loss, smoothing):
    value = TargetCrossEntropy(z_loss=z_loss, label_smoothing=smoothing)(TARGETS, LOGITS)

    assert float(value) == pytest.approx(numpy_mean(TARGETS, LOGITS, z_loss, smoothing), rel=1e-5)


def test_perfectly_smoothed_prediction_costs_nothing():
    probabilities = np.full((1, 1, 5), 0.05, "float32")
    probabilities[0, 0, 2] = 0.8

    value = TargetCrossEntropy(z_loss=0.0, label_smoothing=0.2)([[2]], np.log(probabilities))

    assert float(value) == pytest.approx(0.0, abs=1e-6)


def test_padding_changes_nothing():
    loss = TargetCrossEntropy()
    longer_targets = np.pad(TARGETS, [(0, 0), (0, 3)])
    longer_logits = np.pad(LOGITS, [(0, 0), (0, 3), (0, 0)], constant_values=7.0)

    assert float(loss(longer_targets, longer_logits)) == pytest.approx(float(loss(TARGETS, LOGITS)), rel=1e-6)


def test_call_gives_token_losses_with_zero_on_padding():
    values = keras.ops.convert_to_numpy(TargetCrossEntropy().call(TARGETS, LOGITS))

    expected = numpy_token_losses(TARGETS, LOGITS, 1e-4, 0.0) * (TARGETS != 0)
    np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_batch_without_tokens_gives_zero_and_zero_gradient():
    logits = tf.Variable(LOGITS)
    with tf.GradientTape() as tape:
        value = TargetCrossEntropy()(np.zeros_like(TARGETS), logits)

    assert float(value) == 0.0
    np.testing.assert_array_equal(tape.gradient(value, logits), np.zeros_like(LOGITS))


@pytest.mark.parametrize("weights", [[1.0, 0.25], [[1.0, 0.5, 3.0, 1.0], [0.0, 2.0, 1.0, 1.0]]], ids=["row", "token"])
def test_sample_weight_gives_the_weighted_mean(weights):
    weights = np.asarray(weights, "float32")
    per_token = weights[:, None] if weights.ndim == 1 else weights

    value = TargetCrossEntropy()(TARGETS, LOGITS, sample_weight=weights)

    assert float(value) == pytest.approx(numpy_mean(TARGETS, LOGITS, weights=per_token), rel=1e-5)


def test_row_of_weight_zero_counts_nothing():
    value = TargetCrossEntropy()(TARGETS, LOGITS, sample_weight=np.array([1.0, 0.0]))

    assert float(value) == pytest.approx(numpy_mean(TARGETS[:1], LOGITS[:1]), rel=1e-5)


def test_gradient_is_t5x_closed_form():
    logits = tf.Variable(LOGITS)
    with tf.GradientTape() as tape:
        value = TargetCrossEntropy(z_loss=1e-2)(TARGETS, logits)
    gradient = tape.gradient(value, logits)

    exponentials = np.exp(LOGITS.astype("float64"))
    normaliser = exponentials.sum(-1, keepdims=True)
    one_hot = np.eye(6)[TARGETS]
    mask = (TARGETS != 0)[..., None]
    expected = ((1 + 2e-2 * np.log(normaliser)) * exponentials / normaliser - one_hot) * mask / mask.sum()
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_gradient_equals_finite_differences_of_the_definition():
    def at(logits):
        return numpy_mean(TARGETS, logits, z_loss=0.05, label_smoothing=0.2, weights=weights)

    weights = np.array([[1.0], [0.25]])
    logits = tf.Variable(LOGITS)
    with tf.GradientTape() as tape:
        value = TargetCrossEntropy(z_loss=0.05, label_smoothing=0.2)(TARGETS, logits, sample_weight=weights[:, 0])

    steps = 1e-5 * np.eye(LOGITS.size).reshape(-1, *LOGITS.shape)
    exact = LOGITS.astype("float64")
    expected = [(at(exact + step) - at(exact - step)) / 2e-5 for step in steps]
    np.testing.assert_allclose(tape.gradient(value, logits), np.reshape(expected, LOGITS.shape), atol=1e-6)


def test_logits_far_from_zero_cost_what_they_cost_in_float64():
    logits = np.array([[[1000.0, 0.0, -1000.0], [-500.0, -500.0, -501.0]]], "float32")

    values = keras.ops.convert_to_numpy(TargetCrossEntropy(z_loss=0.0).call([[1, 2]], logits))

    np.testing.assert_allclose(values, [[1000.0, 1.0 + np.log(2 + np.exp(-1))]], rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_logit_that_is_no_number_gives_a_loss_that_is_none(value):
    logits = LOGITS.copy()
    logits[0, 0, 5] = value

    assert not np.isfinite(float(TargetCrossEntropy()(TARGETS, logits)))


def test_bfloat16_logits_are_reduced_in_float32():
    logits = tf.cast(LOGITS, "bfloat16")

    value = TargetCrossEntropy()(TARGETS, logits)

    assert value.dtype == "float32"
    assert float(value) == pytest.approx(numpy_mean(TARGETS, tf.cast(logits, "float32").numpy()), rel=1e-5)


def test_tf_function_agrees_with_eager_on_unknown_shapes():
    loss = TargetCrossEntropy(label_smoothing=0.1)
    signature = [tf.TensorSpec([None, None], "int32"), tf.TensorSpec([None, None, 6], "float32")]
    graph = tf.function(loss.__call__, input_signature=signature)

    assert float(graph(TARGETS, LOGITS)) == pytest.approx(float(loss(TARGETS, LOGITS)), rel=1e-6)


def test_targets_of_one_token_work_in_compile():
    model = keras.Sequential([keras.Input((1, 2)), keras.layers.Dense(5, kernel_initializer="zeros")])
    model.compile(loss=TargetCrossEntropy(z_loss=0.0), jit_compile=False)
    targets = np.array([[1], [0], [2]])

    value = model.evaluate(np.ones((3, 1, 2), "float32"), targets, batch_size=3, verbose=0)

    assert value == pytest.approx(np.log(5), rel=1e-6)


def test_config_round_trip():
    loss = TargetCrossEntropy(z_loss=0.2, label_smoothing=0.1, pad_id=5)

    again = keras.losses.deserialize(keras.losses.serialize(loss))

    assert isinstance(again, TargetCrossEntropy)
    assert again.get_config() == loss.get_config()
    assert (again.z_loss, again.label_smoothing, again.pad_id) == (0.2, 0.1, 5)


def test_impossible_settings_are_refused():
    with pytest.raises(ConfigError, match=r"`label_smoothing` must lie in \[0, 1\). Received: label_smoothing=1.0"):
        TargetCrossEntropy(label_smoothing=1.0)
    with pytest.raises(ConfigError, match="`z_loss` must not be negative. Received: z_loss=-1"):
        TargetCrossEntropy(z_loss=-1)


@pytest.mark.parametrize("target", [-100, 5])
def test_a_target_outside_the_vocabulary_is_an_error(target):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[0, 5\)"):
        TargetCrossEntropy()(np.array([[target, 1]]), np.zeros((1, 2, 5), np.float32))
