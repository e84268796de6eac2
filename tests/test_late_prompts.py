"""Rows that enter before a layer of the encoder or behind it: answers against a plain NumPy T5, gradients, files."""

import keras
import numpy as np
import numpy_t5
import pytest
from finite_differences import check_gradients, two_rows
from tiny_t5 import make_tiny_t5
from twin_answers import check_answers

import softprompt_tf as sp
from softprompt_tf.backbones.passes.state_size import state_size
from softprompt_tf.errors import BackboneError, BackboneMismatchError, PromptError
from softprompt_tf.methods import TaskPrompt

TEXTS = ["a charming film", "the soup was warm, the bread was fresh, the talk was good"]
PLACES = [1, "output"]  # the tiny T5 has two encoder layers
NAMES = {0: "prompt", 1: "prompt_before_layer_1", "output": "prompt_behind_encoder"}


def rows_of(t5, seed, length=3):
    return np.random.default_rng(seed).normal(size=(length, t5.hidden_dim)).astype(np.float32)


def encoded_by(twin, t5, text, layer, rows):
    embeddings = twin.table[[*t5.tokenize([text])[0], 1]]
    if layer == "output":
        return numpy_t5.encode(twin, embeddings, behind=rows)
    return numpy_t5.encode(twin, embeddings, late=(layer, rows))


@pytest.mark.usefixtures("cross_attention")
@pytest.mark.parametrize("layer", PLACES)
def test_answers_are_those_of_plain_numpy(tiny_t5, layer):
    rows = rows_of(tiny_t5, 1)
    model = sp.PromptedT5(tiny_t5, TaskPrompt(tensors={NAMES[layer]: rows}, method="late_prompts"))
    twin = numpy_t5.read_weights(tiny_t5.backbone)
    encoded = [encoded_by(twin, tiny_t5, text, layer, rows) for text in TEXTS]

    check_answers(model, TEXTS, [twin] * 2, encoded)


@pytest.mark.parametrize("layer", PLACES)
def test_the_logits_of_training_are_those_of_plain_numpy(tiny_t5, layer):
    rows = rows_of(tiny_t5, 2)
    model = sp.PromptedT5(tiny_t5, TaskPrompt(tensors={NAMES[layer]: rows}, method="late_prompts"))
    twin = numpy_t5.read_weights(tiny_t5.backbone)
    ids, decoder_ids = np.array([[9, 80, 33, 1]]), np.array([[0, 40, 41, 42]])
    tokens = {"encoder_token_ids": ids, "decoder_token_ids": decoder_ids}
    tokens |= {"encoder_padding_mask": np.ones_like(ids), "decoder_padding_mask": np.ones_like(decoder_ids)}

    logits = model(tokens, training=True)

    where = {"behind": rows} if layer == "output" else {"late": (layer, rows)}
    encoded = numpy_t5.encode(twin, twin.table[ids[0]], **where)
    np.testing.assert_allclose(logits[0], numpy_t5.logits(twin, decoder_ids[0], encoded), atol=2e-4)


@pytest.mark.parametrize("settings", [{}, {"decoder": True}, {"cross": True}], ids=str)
@pytest.mark.parametrize("layer", PLACES)
def test_every_trained_variable_has_the_gradient_of_finite_differences(layer, settings):
    keras.utils.set_random_seed(1)
    model = sp.PromptedT5(make_tiny_t5(), sp.late_prompts(2, layer=layer, seed=3, scale=0.7, **settings))

    check_gradients(model, *two_rows())


def test_layer_zero_is_prompt_tuning(tiny_t5):
    late = sp.PromptedT5(tiny_t5, sp.late_prompts(3, layer=0, seed=1))
    prompt = sp.PromptedT5(tiny_t5, sp.prompt_tuning(3, seed=1))

    np.testing.assert_array_equal(late.prompt_value(), prompt.prompt_value())
    assert late.score(TEXTS, ["yes", "no"]) == prompt.score(TEXTS, ["yes", "no"])


def test_rows_behind_the_encoder_start_as_large_as_its_output(tiny_t5):
    # The norm behind the last layer makes rows of root mean square 1, before its weights, which are 1 here.
    weights = numpy_t5.read_weights(tiny_t5.backbone)
    assert state_size(tiny_t5, None) == pytest.approx(np.sqrt(np.mean(weights.encoder_norm**2)), rel=0.05)

    method = sp.PromptedT5(tiny_t5, sp.late_prompts(3, seed=1)).method

    assert method.scale == pytest.approx(state_size(tiny_t5, None) / state_size(tiny_t5, 0), rel=1e-6)


@pytest.mark.parametrize("layer", PLACES)
def test_a_saved_task_answers_as_the_model_did(tmp_path, layer):
    model = sp.PromptedT5(make_tiny_t5(), sp.late_prompts(3, layer=layer, seed=5, cross=True), labels=["yes", "no"])
    model.save_prompt(tmp_path / "it.safetensors", task_id="it")
    model.save(tmp_path / "model.keras")

    task = sp.load_prompt(tmp_path / "it.safetensors")

    assert {name: value.shape for name, value in task.tensors.items()} == {
        NAMES[layer]: (3, 16),
        "cross_key_values": (3, 2, 2, 2, 6),
    }
    expected = model.score(TEXTS, ["yes", "no"])
    np.testing.assert_allclose(sp.PromptedT5(model.t5, task).score(TEXTS, ["yes", "no"]), expected, rtol=1e-5)
    again = sp.load_model(tmp_path / "model.keras")
    assert again.method.scale == model.method.scale
    np.testing.assert_allclose(again.score(TEXTS, ["yes", "no"]), expected, rtol=1e-5)


@pytest.mark.thorough
@pytest.mark.parametrize("layer", [pytest.param(1, marks=pytest.mark.slow), "output"])
def test_fit_learns_and_moves_nothing_of_the_t5(layer):
    model = sp.PromptedT5(make_tiny_t5(), sp.late_prompts(3, layer=layer, seed=1), max_target_tokens=4)
    frozen = [weight.numpy() for weight in model.t5.backbone.weights]
    model.compile(keras.optimizers.Adam(0.05), sp.TargetCrossEntropy(), gradient_checkpointing=True)

    history = model.fit({"encoder_text": TEXTS * 2, "decoder_text": ["yes", "no"] * 2}, epochs=30, verbose=0).history

    assert history["loss"][-1] < 0.7 * history["loss"][0]
    for weight, value in zip(model.t5.backbone.weights, frozen, strict=True):
        np.testing.assert_array_equal(weight, value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layer": "end"}, "`layer` must be an encoder layer or \"output\". Received: layer='end'"),
        ({"layer": -1}, "`layer` must be an integer, 0 or more. Received: layer=-1"),
        ({"scale": 0.0}, "`scale` must be a number above 0. Received: scale=0.0"),
    ],
)
def test_wrong_settings_are_errors(settings, message):
    with pytest.raises(PromptError, match=message):
        sp.late_prompts(**settings)


def test_a_layer_that_the_encoder_does_not_have_is_an_error(tiny_t5):
    with pytest.raises(PromptError, match='2 layers, 0 to 1, or "output", behind them. Received: layer=2'):
        sp.PromptedT5(tiny_t5, sp.late_prompts(3, layer=2))


def test_a_loaded_task_of_a_layer_that_the_encoder_does_not_have_is_refused(tiny_t5):
    task = TaskPrompt(tensors={"prompt_before_layer_2": rows_of(tiny_t5, 1)}, method="late_prompts", backbone="large")

    with pytest.raises(BackboneMismatchError, match=r"made for large \(prompt_before_layer_2\).*2 encoder layers"):
        sp.PromptedT5(tiny_t5, task)


def test_a_method_without_tensors_names_layers_and_projections_once():
    listed = (
        "cross_key_values, prompt_behind_encoder, text_offsets, invertible_adapter, prompt_sight, label_rows, "
        "prompt_before_layer_LAYER, ATTENTION_PROJECTION_delta, ATTENTION_PROJECTION_scale, STACK_feed_forward_scale, "
        "ATTENTION_attention_adapter, STACK_feed_forward_adapter, STACK_language_adapter, encoder_prompt_addition, mixture_weight. "
        "Received: none"
    )
    with pytest.raises(PromptError, match=listed):
        TaskPrompt(tensors={}, method="late_prompts")


def test_rows_behind_the_encoder_need_no_known_layers():
    t5 = make_tiny_t5()
    layer = t5.backbone.encoder_transformer_layers[0]
    call = layer.call
    layer.call = lambda *args, **keywords: tuple(2.0 * part for part in call(*args, **keywords))
    rows = rows_of(t5, 1)
    model = sp.PromptedT5(t5, TaskPrompt(tensors={NAMES["output"]: rows}, method="late_prompts"))

    assert sp.PromptedT5(t5, sp.late_prompts(3, seed=1)).method.scale > 0
    ids = np.array([[*t5.tokenize(TEXTS[:1])[0], 1]])
    output = np.concatenate([rows, t5.encode(t5.embed(ids), np.ones_like(ids))[0]])
    expected = numpy_t5.target_log_probability(
        numpy_t5.read_weights(t5.backbone), [*t5.tokenize(["yes"])[0], 1], output
    )
    assert model.score(TEXTS[:1], ["yes"])[0] == pytest.approx(expected, rel=1e-4)
    with pytest.raises(BackboneError, match="rows that enter before a layer, need KerasHub's own T5 layers"):
        sp.PromptedT5(t5, sp.late_prompts(3, layer=1))


def test_a_t5_with_dropout_is_refused():
    with pytest.raises(BackboneError, match="late_prompts needs a T5 without dropout"):
        sp.PromptedT5(make_tiny_t5(dropout=0.1), sp.late_prompts(2))
