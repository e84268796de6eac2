"""Training on cached states beside training without them, and answers from states beside answers from texts."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_t5 import make_tiny_t5

import softprompt_tf as sp
from softprompt_tf.errors import ConfigError, DataError, TrainingError
from softprompt_tf.methods import PromptMethod
from softprompt_tf.prompt_places import TextPlaces
from softprompt_tf.states import ENCODER_STATES
from softprompt_tf.states.encoding import StateEncoder
from softprompt_tf.states.state_batches import StateBatchStream, StateTextBatches
from softprompt_tf.tasks import BatchStream, Example, tokenize_examples
from softprompt_tf.tasks.rows import Row
from softprompt_tf.texts.text_batches import TextBatches

pytestmark = pytest.mark.thorough

TEXTS = [
    "a charming film",
    "the soup was warm, the bread was fresh, the talk was good",
    "a cold wind",
    "rain fell on the roof",
    "two brothers shared one bicycle for years",
]
TARGETS = ["yes", "no", "yes", "a slow ending", "no"]
DATA = {"encoder_text": TEXTS, "decoder_text": TARGETS}
METHODS = {
    "layer 1": lambda **task_ids: sp.late_prompts(3, layer=1, seed=1, **task_ids),
    "output": lambda **task_ids: sp.late_prompts(3, seed=1, decoder=True, **task_ids),
    "decoder's key/values": lambda **task_ids: sp.p_tuning_v2(3, encoder=False, seed=1, **task_ids),
}


def made(method="output", t5=None, **task_ids):
    keras.utils.set_random_seed(4)
    model = sp.PromptedT5(t5 or make_tiny_t5(), METHODS[method](**task_ids), max_target_tokens=6, labels=["yes", "no"])
    model.compile(keras.optimizers.Adam(0.01), sp.TargetCrossEntropy())
    return model


def assert_same_task(model, other):
    for name, value in other.task_tensors().items():
        np.testing.assert_allclose(model.task_tensors()[name], value, rtol=0, atol=1e-6 * np.abs(value).max())


def rows():
    return [
        Example(inputs=text, target=target, label=None, row=Row({}, "here"))
        for text, target in zip(TEXTS, TARGETS, strict=True)
    ]


def stream(model, states=None, **settings):
    """Return the seeded batches of `rows`, on cached states where there are some."""
    tokenized = tokenize_examples(rows(), model.t5.tokenize, max_input_tokens=9, max_target_tokens=6)
    order = BatchStream(tokenized, batch_size=2, seed=5, **settings)
    if states is None:
        return order
    return StateBatchStream(order, states.of(tokenized.encoder_token_ids), **settings)


# === fit ===


@pytest.mark.parametrize("method", ["layer 1", "output", pytest.param("decoder's key/values", marks=pytest.mark.slow)])
def test_fit_on_float32_states_gives_the_same_prompt(method):
    plain, cached = made(method), made(method)
    losses = []

    for model, states in ((plain, False), (cached, "float32")):
        keras.utils.set_random_seed(7)
        history = model.fit(DATA, batch_size=2, epochs=2, verbose=0, validation_split=0.4, cached_states=states).history
        losses.append([*history["loss"], *history["val_loss"]])

    assert_same_task(cached, plain)
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)


def test_a_step_on_states_runs_no_layer_of_the_encoder(monkeypatch):
    model = made("output")
    states = model.state_cache()
    model.fit(DATA, verbose=0, cached_states=states)  # fills the cache
    model.train_function = None
    monkeypatch.setattr(type(model.t5.forward), "encode", None)

    history = model.fit(DATA, verbose=0, cached_states=states).history

    assert np.isfinite(history["loss"]).all()


def test_several_models_share_one_cache(tiny_t5, monkeypatch):
    states = made("output", tiny_t5).state_cache()
    calls, batches = [], StateEncoder.batches
    monkeypatch.setattr(StateEncoder, "batches", lambda *args: calls.append(1) or batches(*args))

    for _ in range(2):
        made("output", tiny_t5).evaluate(DATA, verbose=0, cached_states=states)

    assert len(calls) == 1


def test_evaluate_takes_cached_states(tiny_t5):
    model = made("layer 1", tiny_t5)

    expected = model.evaluate(DATA, verbose=0)

    assert model.evaluate(DATA, verbose=0, cached_states="float32") == pytest.approx(expected, rel=1e-5)


def test_weights_and_tasks_go_with_cached_states():
    tasks = {**DATA, "task_id": ["a", "b", "a", "b", "a"]}
    models = [made("output", task_ids=["a", "b"]) for _ in range(2)]

    for model, states in zip(models, (False, "float32"), strict=True):
        model.fit(tasks, sample_weight=[1, 0, 2, 1, 1], shuffle=False, verbose=0, cached_states=states)

    for task in ("a", "b"):
        for name, value in models[0].task_tensors(task).items():
            np.testing.assert_allclose(models[1].task_tensors(task)[name], value, atol=1e-6 * np.abs(value).max())


def test_prompt_tuning_has_no_states_to_cache(tiny_t5):
    model = sp.PromptedT5(tiny_t5, sp.prompt_tuning(2))
    model.compile("adam", sp.TargetCrossEntropy())

    with pytest.raises(TrainingError, match="above the encoder's first layer. Received: prompt_tuning"):
        model.fit(DATA, verbose=0, cached_states=True)


def test_a_cache_of_another_layer_or_t5_is_an_error(tiny_t5):
    model = made("output", tiny_t5)
    for other in (made("layer 1", tiny_t5), made("output")):
        with pytest.raises(TrainingError, match="the encoder output of tiny-0-2-layers. Received: one of"):
            model.fit(DATA, verbose=0, cached_states=other.state_cache())


@pytest.mark.parametrize("wrong", ["int8", 3])
def test_another_value_is_an_error(tiny_t5, wrong):
    with pytest.raises(ConfigError, match="`cached_states` must be True, False, one of float16"):
        made("output", tiny_t5).fit(DATA, verbose=0, cached_states=wrong)


def test_a_data_set_is_refused(tiny_t5):
    data = tf.data.Dataset.from_tensor_slices(DATA).batch(2)

    with pytest.raises(DataError, match="needs texts in memory, such as lists or columns. Received: a"):
        made("output", tiny_t5).fit(data, verbose=0, cached_states=True)


def test_what_cannot_be_kept_is_computed_in_every_step(tiny_t5):
    model = made("output", tiny_t5)
    expected = model.evaluate(DATA, verbose=0)

    with pytest.warns(UserWarning, match="goes on without cached states"):
        assert model.evaluate(DATA, verbose=0, cached_states=model.state_cache(memory_limit=1)) == expected


# === The seeded stream ===


@pytest.mark.parametrize("settings", [{}, {"pad_to_multiple_of": 4}, {"with_task_id": True}], ids=str)
def test_the_batches_are_those_of_the_stream_without_states(settings):
    model = made("output", **({"task_ids": ["a", "b"]} if "with_task_id" in settings else {}))
    cache = model.state_cache(dtype="float32")

    pairs = zip(stream(model, **settings).dataset(), stream(model, cache, **settings).dataset(), strict=False)

    for _, ((x, y), (on_states, targets)) in zip(range(8), pairs, strict=False):
        states = on_states.pop(ENCODER_STATES)
        assert states.shape == (*x["encoder_token_ids"].shape, model.t5.hidden_dim)
        np.testing.assert_array_equal(targets, y)
        assert {name: value.numpy().tolist() for name, value in on_states.items()} == {
            name: value.numpy().tolist() for name, value in x.items()
        }


def test_each_row_comes_once_an_epoch_and_the_same_after_a_resume():
    model = made("output")
    cache = model.state_cache()
    first = [y.numpy().tolist() for _, (_, y) in zip(range(9), stream(model, cache).dataset(), strict=False)]

    resumed = [
        y.numpy().tolist() for _, (_, y) in zip(range(5), stream(model, cache).dataset(first_step=4), strict=False)
    ]

    assert resumed == first[4:]
    seen = [tuple(i for i in row if i) for batch in first[:5] for row in batch]  # 5 batches of 2: two epochs of 5 rows
    wanted = [tuple(row.tolist()) for row in stream(model).examples.target_token_ids]
    assert all(seen.count(row) >= wanted.count(row) for row in wanted)


def test_an_interrupted_training_on_states_ends_as_one_that_was_not(tmp_path):
    whole, cut = made("layer 1"), made("layer 1")
    sp.train_prompt(whole, stream(whole, whole.state_cache()), steps=6, seed=5)

    sp.train_prompt(cut, stream(cut, cut.state_cache()), steps=3, seed=5, checkpoint_dir=tmp_path / "c")
    again = made("layer 1")
    sp.train_prompt(again, stream(again, again.state_cache()), steps=6, seed=5, checkpoint_dir=tmp_path / "c")

    for name, value in whole.task_tensors().items():
        np.testing.assert_array_equal(again.task_tensors()[name], value)


# === Answers ===


def test_texts_with_states_are_cut_as_those_without(tiny_t5):
    model = made("output", tiny_t5)
    states = model.state_cache(dtype="float32").of([[2, 1]])
    settings = {
        "t5": tiny_t5,
        "max_input_tokens": 12,
        "max_target_tokens": 5,
        "task_ids": ("mood", "topic"),
        "opening_id": 7,
        "places": TextPlaces(2, 1),
        "label_words": ("yes", "no"),
    }

    found = StateTextBatches.of(TextBatches(**settings), states)

    assert {field.name: getattr(found, field.name) for field in dataclasses.fields(found)} == settings | {
        "states": states
    }


@pytest.mark.parametrize("method", METHODS)
def test_answers_from_states_are_those_from_texts(tiny_t5, method):
    model = made(method, tiny_t5)
    states = model.state_cache(dtype="float32").of(model.text_batches.input_ids(TEXTS))

    answers = model.answers_from(states)

    np.testing.assert_allclose(answers.score(TEXTS, TARGETS), model.score(TEXTS, TARGETS), rtol=1e-4)
    assert [each.label for each in answers.classify(TEXTS)] == [each.label for each in model.classify(TEXTS)]
    for found, expected in zip(answers.generate_scored(TEXTS[::2]), model.generate_scored(TEXTS[::2]), strict=True):
        assert found.text == expected.text
        assert found.score == pytest.approx(expected.score, rel=1e-4)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelRowsAlone(PromptMethod):
    """A row for each label and no prompt: the T5 knows nothing of the task, so that the states are the encoder output."""

    @property
    def name(self):
        return "label_rows_alone"

    def shapes(self, sizes):
        return {"label_rows": (3, sizes.hidden_dim)}

    def draw(self, vocabulary, sizes, seed, task_id):
        return {"label_rows": np.random.default_rng(seed).normal(size=(3, sizes.hidden_dim))}


def test_answers_of_label_rows_from_states_are_those_from_texts(tiny_t5):
    model = sp.PromptedT5(tiny_t5, LabelRowsAlone(length=1, seed=0), labels=["yes", "no", "a good film"])
    states = model.state_cache(dtype="float32").of(model.text_batches.input_ids(TEXTS))
    targets = ["yes", "a good film", "no", "no", "yes"]

    answers = model.answers_from(states)

    np.testing.assert_allclose(answers.score(TEXTS, targets), model.score(TEXTS, targets), rtol=1e-4)
    assert [each.label for each in answers.classify(TEXTS)] == [each.label for each in model.classify(TEXTS)]
    assert [each.text for each in answers.generate_scored(TEXTS)] == model.generate(TEXTS)
