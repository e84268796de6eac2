"""Trained keys and values in a frozen T5: answers against a plain NumPy T5, gradients against finite differences."""

import keras
import numpy as np
import numpy_t5
import pytest
from finite_differences import check_gradients, two_rows
from tiny_t5 import make_tiny_t5
from twin_answers import check_answers

import softprompt_tf as sp
from softprompt_tf.errors import BackboneError, PromptError
from softprompt_tf.methods import TaskPrompt

pytestmark = pytest.mark.thorough

TEXTS = ["a charming film", "the soup was warm, the bread was fresh, the talk was good"]
PARTS = ("encoder", "decoder", "cross")
METHODS = [
    pytest.param(sp.prefix_tuning, {"mlp_dim": 5}, id="prefix_tuning"),
    pytest.param(sp.prefix_tuning, {"mlp_dim": None}, id="prefix_tuning_without_network"),
    pytest.param(sp.p_tuning_v2, {}, id="p_tuning_v2"),
]


def tensors_of(t5, length, *, seed, parts=PARTS):
    rng = np.random.default_rng(seed)
    shape = (length, 2, 2, t5.num_heads, t5.head_dim)  # both stacks of the tiny T5 have two layers
    return {f"{part}_key_values": rng.normal(size=shape).astype(np.float32) for part in parts}


def task_of(t5, tensors, **fields):
    return TaskPrompt(tensors=tensors, method="prefix_tuning", task_id="it", labels=("yes", "no"), **fields)


def twin_of(t5, tensors):
    weights = numpy_t5.read_weights(t5.backbone)
    return numpy_t5.with_key_values(
        weights, **{name.removesuffix("_key_values"): value for name, value in tensors.items()}
    )


def encoded_by(twin, t5, text):
    return numpy_t5.encode(twin, twin.table[[*t5.tokenize([text])[0], 1]])


@pytest.mark.usefixtures("cross_attention")
@pytest.mark.parametrize("parts", [PARTS, ("encoder",), ("decoder",), ("cross",)], ids="+".join)
def test_answers_are_those_of_plain_numpy(tiny_t5, parts):
    tensors = tensors_of(tiny_t5, 3, seed=1, parts=parts)
    model, twin = sp.PromptedT5(tiny_t5, task_of(tiny_t5, tensors)), twin_of(tiny_t5, tensors)
    encoded = [encoded_by(twin, tiny_t5, text) for text in TEXTS]

    check_answers(model, TEXTS, [twin] * 2, encoded)


def test_the_logits_of_training_are_those_of_plain_numpy(tiny_t5):
    tensors = tensors_of(tiny_t5, 3, seed=2)
    model, twin = sp.PromptedT5(tiny_t5, task_of(tiny_t5, tensors)), twin_of(tiny_t5, tensors)
    ids, decoder_ids = np.array([[9, 80, 33, 1]]), np.array([[0, 40, 41, 42, 43, 44, 45, 46]])
    tokens = {"encoder_token_ids": ids, "decoder_token_ids": decoder_ids}
    tokens |= {"encoder_padding_mask": np.ones_like(ids), "decoder_padding_mask": np.ones_like(decoder_ids)}

    logits = model(tokens, training=True)

    encoded = numpy_t5.encode(twin, twin.table[ids[0]])
    np.testing.assert_allclose(logits[0], numpy_t5.logits(twin, decoder_ids[0], encoded), atol=2e-4)


@pytest.mark.parametrize(("method", "settings"), METHODS)
def test_every_trained_variable_has_the_gradient_of_finite_differences(method, settings):
    keras.utils.set_random_seed(1)
    model = sp.PromptedT5(make_tiny_t5(), method(2, seed=3, scale=0.7, **settings))

    check_gradients(model, *two_rows())


@pytest.mark.thorough
@pytest.mark.parametrize("recompute", [pytest.param(False, marks=pytest.mark.slow), True])
def test_fit_moves_every_variable_and_nothing_of_the_t5(recompute):
    model = sp.PromptedT5(make_tiny_t5(), sp.prefix_tuning(3, mlp_dim=4, seed=1), max_target_tokens=4)
    before = [weight.numpy() for weight in model.trainable_variables]
    frozen = [weight.numpy() for weight in model.t5.backbone.weights]
    model.compile(keras.optimizers.Adam(0.01), sp.TargetCrossEntropy(), gradient_checkpointing=recompute)

    history = model.fit({"encoder_text": TEXTS * 2, "decoder_text": ["yes", "no"] * 2}, epochs=30, verbose=0).history

    assert history["loss"][-1] < 0.7 * history["loss"][0]
    assert all(
        np.abs(weight.numpy() - value).max() > 0
        for weight, value in zip(model.trainable_variables, before, strict=True)
    )
    for weight, value in zip(model.t5.backbone.weights, frozen, strict=True):
        np.testing.assert_array_equal(weight, value)


@pytest.mark.parametrize(("method", "settings"), METHODS)
def test_a_saved_task_answers_as_the_model_did(tmp_path, method, settings):
    model = sp.PromptedT5(make_tiny_t5(), method(3, seed=5, **settings), labels=["yes", "no"])
    model.save_prompt(tmp_path / "it.safetensors", task_id="it")
    model.save(tmp_path / "model.keras")

    task = sp.load_prompt(tmp_path / "it.safetensors")

    assert {name: value.shape for name, value in task.tensors.items()} == {
        f"{part}_key_values": (3, 2, 2, 2, 6) for part in PARTS
    }
    expected = model.score(TEXTS, ["yes", "no"])
    np.testing.assert_allclose(sp.PromptedT5(model.t5, task).score(TEXTS, ["yes", "no"]), expected, rtol=1e-5)
    again = sp.load_model(tmp_path / "model.keras")
    assert [variable.name for variable in again.trainable_variables] == [v.name for v in model.trainable_variables]
    np.testing.assert_allclose(again.score(TEXTS, ["yes", "no"]), expected, rtol=1e-5)


def test_several_tasks_of_one_model_each_answer_as_alone(tiny_t5):
    both = sp.PromptedT5(tiny_t5, sp.p_tuning_v2(2, task_ids=["a", "b"], seed=7), labels=["yes", "no"])
    alone = [sp.PromptedT5(tiny_t5, TaskPrompt(tensors=both.task_tensors(name), method="p_tuning_v2")) for name in "ab"]

    mixed = both.score(TEXTS, ["yes", "no"], task_id=["b", "a"])

    expected = [alone[1].score(TEXTS[:1], ["yes"])[0], alone[0].score(TEXTS[1:], ["no"])[0]]
    np.testing.assert_allclose(mixed, expected, rtol=1e-5)


def test_a_quantized_t5_takes_them_too():
    t5 = make_tiny_t5()
    tensors = tensors_of(t5, 3, seed=1)
    expected = sp.PromptedT5(t5, task_of(t5, tensors)).score(TEXTS, ["yes", "no"])
    t5.quantize("int8")

    found = sp.PromptedT5(t5, task_of(t5, tensors)).score(TEXTS, ["yes", "no"])

    without = sp.PromptedT5(t5, sp.prompt_tuning(1, seed=1)).score(TEXTS, ["yes", "no"])
    assert np.abs(np.subtract(found, expected)).max() < 0.25 * np.abs(np.subtract(found, without)).max()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": False, "decoder": False, "cross": False}, "must go in somewhere"),
        ({"mlp_dim": 0}, "`mlp_dim` must be a positive integer. Received: mlp_dim=0"),
        ({"scale": -1.0}, "`scale` must be a number above 0. Received: scale=-1.0"),
        ({"length": 0}, "`length` must be a positive integer. Received: length=0"),
    ],
)
def test_wrong_settings_are_errors(settings, message):
    with pytest.raises(PromptError, match=message):
        sp.prefix_tuning(**settings)


def test_a_model_of_keys_and_values_has_no_rows_in_front(tiny_t5):
    model = sp.PromptedT5(tiny_t5, sp.p_tuning_v2(2, seed=1))

    with pytest.raises(PromptError, match="the method p_tuning_v2, which trains encoder_key_values"):
        model.prompt_value()


def test_a_t5_with_dropout_is_refused():
    with pytest.raises(BackboneError, match="p_tuning_v2 needs a T5 without dropout"):
        sp.PromptedT5(make_tiny_t5(dropout=0.1), sp.p_tuning_v2(2))


def test_dropout_that_comes_later_is_refused_too():
    t5 = make_tiny_t5()
    model = sp.PromptedT5(t5, sp.p_tuning_v2(2))
    t5.backbone.decoder_transformer_layers[0].self_attention_dropout.rate = 0.1
    ids = np.array([[9, 1]])
    tokens = {f"{side}_{name}": ids for side in ("encoder", "decoder") for name in ("token_ids", "padding_mask")}

    with pytest.raises(BackboneError, match="p_tuning_v2 needs a T5 without dropout"):
        model(tokens, training=True)
