"""LoRA beside a frozen T5's projections: answers against a plain NumPy T5 whose matrices have the products added."""

import keras
import numpy as np
import numpy_t5
import pytest
from finite_differences import check_gradients, two_rows
from tiny_t5 import make_tiny_t5
from twin_answers import check_answers

import softprompt_tf as sp
from softprompt_tf.errors import PromptError
from softprompt_tf.methods import TaskPrompt
from softprompt_tf.methods.task_tensors import DELTAS, PROJECTIONS, row_shape

TEXTS = ["a charming film", "the soup was warm, the bread was fresh, the talk was good"]
PLACES = ("encoder", "decoder", "cross")


def tensors_of(t5, rank, *, seed, places=PLACES, projections=PROJECTIONS):
    rng = np.random.default_rng(seed)
    return {
        name: (0.3 * rng.normal(size=(rank, *row_shape(name, t5.sizes)))).astype(np.float32)
        for name, (place, projection) in DELTAS.items()
        if place in places and projection in projections
    }


def task_of(tensors, **fields):
    return TaskPrompt(tensors=tensors, method="lora", task_id="it", labels=("yes", "no"), **fields)


def encoded_by(twin, t5, text):
    return numpy_t5.encode(twin, twin.table[[*t5.tokenize([text])[0], 1]])


@pytest.mark.parametrize("places", [PLACES, ("encoder",), ("decoder",), ("cross",)], ids="+".join)
def test_answers_are_those_of_plain_numpy(tiny_t5, places):
    tensors = tensors_of(tiny_t5, 3, seed=1, places=places)
    model = sp.PromptedT5(tiny_t5, task_of(tensors))
    twin = numpy_t5.with_deltas(numpy_t5.read_weights(tiny_t5.backbone), tensors)

    check_answers(model, TEXTS, [twin] * 2, [encoded_by(twin, tiny_t5, text) for text in TEXTS])


def test_several_tasks_of_one_model_each_answer_as_alone(tiny_t5):
    both = sp.PromptedT5(tiny_t5, sp.lora(2, task_ids=["a", "b"], seed=7), labels=["yes", "no"])
    rng = np.random.default_rng(2)
    for variable in both.trainable_variables:  # the way up starts at 0
        variable.assign(0.3 * rng.normal(size=variable.shape))
    alone = [sp.PromptedT5(tiny_t5, task_of(both.task_tensors(name))) for name in "ab"]

    mixed = both.score(TEXTS, ["yes", "no"], task_id=["b", "a"])

    expected = [alone[1].score(TEXTS[:1], ["yes"])[0], alone[0].score(TEXTS[1:], ["no"])[0]]
    np.testing.assert_allclose(mixed, expected, rtol=1e-5)
    assert abs(mixed[0] - alone[0].score(TEXTS[:1], ["yes"])[0]) > 1e-3


def test_a_fresh_one_is_the_frozen_model_and_is_scaled_by_alpha_over_the_rank(tiny_t5):
    weights = numpy_t5.read_weights(tiny_t5.backbone)
    model = sp.PromptedT5(tiny_t5, sp.lora(2, alpha=6.0, decoder=False, cross=False, projections=["value"], seed=1))
    ids = [*tiny_t5.tokenize(["yes"])[0], 1]
    plain = numpy_t5.target_log_probability(weights, ids, encoded_by(weights, tiny_t5, TEXTS[0]))
    np.testing.assert_allclose(model.score(TEXTS[:1], ["yes"]), [plain], rtol=1e-4)

    down, up = model.prompt_table.variables_by_name.values()
    up.assign(np.random.default_rng(3).normal(size=up.shape))

    tensors = model.task_tensors()
    assert list(tensors) == ["encoder_value_delta"]
    np.testing.assert_allclose(
        tensors["encoder_value_delta"], np.concatenate([down.numpy(), 3.0 * up.numpy()], axis=-1), rtol=1e-6
    )


def test_every_trained_variable_has_the_gradient_of_finite_differences():
    model = sp.PromptedT5(make_tiny_t5(), sp.lora(2, projections=PROJECTIONS, seed=3))
    rng = np.random.default_rng(5)
    for variable in model.trainable_variables:
        variable.assign(0.03 * rng.normal(size=variable.shape))

    check_gradients(model, *two_rows())


@pytest.mark.parametrize("recompute", [False, True])
def test_fit_moves_every_variable_and_nothing_of_the_t5(recompute):
    model = sp.PromptedT5(make_tiny_t5(), sp.lora(3, seed=1), max_target_tokens=4)
    before = [weight.numpy() for weight in model.trainable_variables]
    frozen = [weight.numpy() for weight in model.t5.backbone.weights]
    model.compile(keras.optimizers.Adam(0.02), sp.TargetCrossEntropy(), gradient_checkpointing=recompute)

    history = model.fit({"encoder_text": TEXTS * 2, "decoder_text": ["yes", "no"] * 2}, epochs=30, verbose=0).history

    assert history["loss"][-1] < 0.7 * history["loss"][0]
    for weight, value in zip(model.trainable_variables, before, strict=True):
        assert np.abs(weight.numpy() - value).max() > 0, weight.path
    for weight, value in zip(model.t5.backbone.weights, frozen, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_a_saved_task_and_a_saved_model_answer_as_the_model_did(tmp_path):
    model = sp.PromptedT5(make_tiny_t5(), sp.lora(3, seed=5), labels=["yes", "no"])
    rng = np.random.default_rng(5)
    for variable in model.trainable_variables:
        variable.assign(0.3 * rng.normal(size=variable.shape))
    model.save_prompt(tmp_path / "it.safetensors", task_id="it")
    model.save(tmp_path / "model.keras")

    task, again = sp.load_prompt(tmp_path / "it.safetensors"), sp.load_model(tmp_path / "model.keras")

    expected = model.score(TEXTS, ["yes", "no"])
    assert (task.method, task.length) == ("lora", 3)
    np.testing.assert_allclose(sp.PromptedT5(model.t5, task).score(TEXTS, ["yes", "no"]), expected, rtol=1e-5)
    assert [variable.name for variable in again.trainable_variables] == [v.name for v in model.trainable_variables]
    np.testing.assert_allclose(again.score(TEXTS, ["yes", "no"]), expected, rtol=1e-5)


def test_a_quantized_t5_takes_it_too():
    t5 = make_tiny_t5()
    tensors = tensors_of(t5, 3, seed=1)
    expected = sp.PromptedT5(t5, task_of(tensors)).score(TEXTS, ["yes", "no"])
    t5.quantize("int8")

    found = sp.PromptedT5(t5, task_of(tensors)).score(TEXTS, ["yes", "no"])

    without = sp.PromptedT5(t5, sp.prompt_tuning(1, seed=1)).score(TEXTS, ["yes", "no"])
    assert np.abs(np.subtract(found, expected)).max() < 0.25 * np.abs(np.subtract(found, without)).max()


def test_a_task_of_another_methods_tensors_is_refused(tiny_t5):
    rows = np.ones((2, tiny_t5.hidden_dim), np.float32)

    with pytest.raises(PromptError, match="lora has the tensors: any of ATTENTION_PROJECTION_delta. Received: prompt"):
        task_of({"prompt": rows})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": False, "decoder": False, "cross": False}, "must change an attention. Received: encoder=False"),
        (
            {"projections": ["query", "gate"]},
            "`projections` must be some of query, key, value, output. Received: query, gate",
        ),
        ({"projections": []}, "`projections` must be some of query, key, value, output. Received: none"),
        ({"projections": "query"}, "`projections` must be a list of names. Received: projections='query'"),
        ({"alpha": 0}, "`alpha` must be a number above 0. Received: alpha=0"),
        ({"rank": 0}, "`rank` must be a positive integer. Received: rank=0"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(PromptError, match=message):
        sp.lora(**settings)
