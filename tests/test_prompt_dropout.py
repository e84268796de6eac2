"""Prompt dropout: what a training step drops, that nothing else does, and that a run that goes on drops the same."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from finite_differences import two_rows
from killed_training import whole_and_resumed
from tiny_t5 import make_tiny_t5

import softprompt_tf as sp
from softprompt_tf.config import load_config
from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.experiments.prompts_together import partners
from softprompt_tf.model.prompt_dropout import PromptDropout
from softprompt_tf.runs.run_identity import config_digest

TEXTS = ["a charming film", "the soup was warm, the bread was fresh, the talk was good"]
DATA = {"encoder_text": TEXTS, "decoder_text": ["yes", "no"]}
METHODS = {
    "prompt_tuning": (sp.prompt_tuning, {}),
    "residual": (sp.residual, {"bottleneck_dim": 2}),
    "dept": (sp.dept, {"rank": 2, "num_offsets": 3}),
    "soft_words": (sp.soft_words, {}),
}


def model_of(t5, name="prompt_tuning", *, rate=0.5, seed=3, compiled=True, **settings):
    make, own = METHODS[name]
    model = sp.PromptedT5(t5, make(length=4, seed=seed, **own, **settings), labels=["yes", "no"], max_target_tokens=6)
    if compiled:
        model.compile(sp.Adafactor(0.1), sp.TargetCrossEntropy(), prompt_dropout=rate, run_eagerly=True)
    return model


def logits_of(model, **how):
    return np.asarray(model(two_rows()[0], **how))


def dropped(rate=0.5, *, seed=1, step=0, shape=(4, 50, 20)):
    return np.asarray(PromptDropout(rate, seed=seed, step=tf.Variable(step))(tf.ones(shape)))


def test_a_share_of_the_values_is_dropped_and_the_rest_scaled():
    values = dropped(0.25)

    assert set(np.unique(values)) == {0.0, np.float32(4 / 3)}
    assert (values == 0).mean() == pytest.approx(0.25, abs=0.03)  # of 4000 values, 4 standard deviations


def test_what_is_dropped_follows_from_seed_and_step_and_differs_by_row():
    first = dropped()

    np.testing.assert_array_equal(dropped(), first)
    np.testing.assert_array_equal(dropped(seed=1 + 2**31), first)  # of a seed, 31 bits count
    for other in (dropped(step=1), dropped(seed=2), first[::-1]):
        assert (other != first).mean() > 0.3


@pytest.mark.parametrize("name", METHODS)
def test_only_training_drops(one_layer_t5, name):
    model, plain = model_of(one_layer_t5, name), model_of(one_layer_t5, name, compiled=False)

    for how in ({}, {"training": False}):
        np.testing.assert_array_equal(logits_of(model, **how), logits_of(plain, **how))
    assert np.abs(logits_of(model, training=True) - logits_of(plain, training=True)).max() > 1e-2
    for tensor, value in model.task_tensors().items():
        np.testing.assert_array_equal(value, plain.task_tensors()[tensor])


def test_answers_have_all_values(one_layer_t5):
    model, plain = model_of(one_layer_t5), model_of(one_layer_t5, compiled=False)

    assert model.score(TEXTS, ["yes", "no"]) == plain.score(TEXTS, ["yes", "no"])


def test_the_rows_of_a_step_are_those_of_a_prompt_without_the_dropped_values(one_layer_t5):
    model = model_of(one_layer_t5)
    tokens, _ = two_rows()
    rows = model.prompt_value() * dropped(seed=3, shape=(2, 4, one_layer_t5.hidden_dim))  # those of step 0

    found = logits_of(model, training=True)

    for row in range(2):
        alone = sp.PromptedT5(one_layer_t5, sp.prompt_tuning(4, sp.init.from_array(rows[row])))
        np.testing.assert_allclose(found[row], np.asarray(alone(tokens))[row], atol=1e-5)


def test_a_dropped_value_has_no_gradient(one_layer_t5):
    model = model_of(one_layer_t5)
    tokens, targets = two_rows()
    one_row = {name: value[:1] for name, value in tokens.items()}

    with tf.GradientTape() as tape:
        loss = sp.TargetCrossEntropy()(targets[:1], model(one_row, training=True))
    gradient = tape.gradient(loss, model.prompt_variable.value)

    kept = dropped(seed=3, shape=(1, 4, one_layer_t5.hidden_dim))[0] > 0
    np.testing.assert_array_equal(np.asarray(gradient) != 0, kept)


def test_each_batch_of_an_accumulated_step_drops_others(one_layer_t5):
    model = model_of(one_layer_t5)
    optimizer = keras.optimizers.SGD(0.0, gradient_accumulation_steps=3)
    model.compile(optimizer, sp.TargetCrossEntropy(), prompt_dropout=0.5, run_eagerly=True)
    first = logits_of(model, training=True)

    model.train_on_batch(*two_rows())

    assert int(optimizer.iterations) == 0
    assert np.abs(logits_of(model, training=True) - first).max() > 1e-2


@pytest.mark.thorough
def test_a_killed_training_ends_with_the_same_bits(tmp_path, one_layer_t5):
    def make(seed):
        model = model_of(one_layer_t5)
        model.run_eagerly = False  # in a graph, which reads the step anew
        model.prompt_variable.assign_add(np.full(model.prompt_variable.shape, float(seed)))
        return model

    whole, resumed = whole_and_resumed(tmp_path, make, DATA)

    np.testing.assert_array_equal(resumed.prompt_value(), whole.prompt_value())


@pytest.mark.parametrize("name", ["prompt_tuning", "dept"])
def test_a_saved_model_goes_on_with_what_it_would_have_dropped(tmp_path, one_layer_t5, name):
    model = model_of(one_layer_t5, name, rate=0.25, seed=8)
    model.fit(DATA, epochs=2, verbose=0, shuffle=False)
    model.save(tmp_path / "model.keras")

    again = sp.load_model(tmp_path / "model.keras")

    assert (again.prompt_dropout, again.method.seed) == (0.25, 8)
    np.testing.assert_allclose(logits_of(again, training=True), logits_of(model, training=True), atol=1e-5)


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan"), True, "0.1"])
def test_a_rate_that_is_none_is_named(one_layer_t5, rate):
    with pytest.raises(
        ConfigError, match="`prompt_dropout` must be a number from 0 up to 1. Received: prompt_dropout="
    ):
        model_of(one_layer_t5, rate=rate)


def test_a_method_without_rows_in_front_is_refused(one_layer_t5):
    model = sp.PromptedT5(one_layer_t5, sp.lora(1, seed=1))

    with pytest.raises(TrainingError, match="needs a method with rows in front of the text"):
        model.compile(keras.optimizers.Adam(), sp.TargetCrossEntropy(), prompt_dropout=0.1)


def test_a_search_for_words_is_refused(one_layer_t5):
    model = model_of(one_layer_t5, compiled=False)

    with pytest.raises(TrainingError, match="needs an optimizer that takes steps. Received: AutoPrompt"):
        model.compile(sp.AutoPrompt(), sp.TargetCrossEntropy(), prompt_dropout=0.1)


def test_a_t5_with_dropout_is_refused_when_it_is_compiled_and_when_it_runs():
    t5 = make_tiny_t5(num_layers=1, dropout=0.2)
    model = model_of(t5, compiled=False)

    with pytest.raises(TrainingError, match="Prompt dropout needs a T5 without dropout. Received: .*dropout=0.2"):
        model.compile(sp.Adafactor(0.1), sp.TargetCrossEntropy(), prompt_dropout=0.1)


@pytest.fixture
def configs(tmp_path):
    """A run without the setting, with 0, and with 0.1."""
    task = "name: mood\ninputs: '{text}'\nlabels: {a: yes, b: no}\n"
    (tmp_path / "task.yaml").write_text(task, encoding="utf-8")
    (tmp_path / "run.yaml").write_text("backbone: mini\ntask: task.yaml\noutput_dir: out\n", encoding="utf-8")
    overrides = [[], ["training.prompt_dropout=0"], ["training.prompt_dropout=0.1"]]
    return [load_config(tmp_path / "run.yaml", each) for each in overrides]


def test_a_rate_of_a_config_counts_for_the_run_and_parts_it_from_others(configs):
    plain, none, some = configs
    trial = SimpleNamespace(arm="prompt_tuning", settings=SimpleNamespace(rows=None))

    assert some.training.prompt_dropout == 0.1
    assert config_digest(plain) == config_digest(none) != config_digest(some)
    assert partners(trial, [trial], lambda _: plain) == [trial]
    assert partners(trial, [trial], lambda _: some) == []  # each would need the count of its own optimizer
