"""States that are computed when a run's batches come to them: which ones, when, with which others, and what they are."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_run import run_values, write_preset, write_tasks, write_yaml
from tiny_t5 import make_tiny_t5

import softprompt_tf as sp
from softprompt_tf.config import load_config
from softprompt_tf.runs.run import train_run
from softprompt_tf.states import ENCODER_STATES, states_as_needed
from softprompt_tf.states.encoding import StateEncoder
from softprompt_tf.states.state_batches import StateBatchStream
from softprompt_tf.states.state_cache import StateCache
from softprompt_tf.tasks import BatchStream, TokenizedExamples

LENGTHS = (3, 7, 2, 5, 5, 4, 6, 2, 3, 7, 1)  # of eleven texts; in batches of two, an epoch has six steps
ROUNDING = {"float32": 1e-6, "float16": 2**-11, "bfloat16": 2**-8}


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    """Let the first window of batches of two have one step, then two, four and four."""
    monkeypatch.setattr(states_as_needed, "FIRST_ROWS", 2)
    monkeypatch.setattr(states_as_needed, "MOST_ROWS", 8)


def order():
    draws = np.random.default_rng(3)
    texts = tuple(draws.integers(3, 100, length).astype(np.int32) for length in LENGTHS)
    targets = tuple(np.array([7 + number, 1], np.int32) for number in range(len(texts)))
    return BatchStream(TokenizedExamples(texts, targets, np.zeros(len(texts), np.int32)), batch_size=2, seed=5)


def batches(cache, *, first_step=0, steps=9):
    """Return the batches of a run as NumPy arrays."""
    plain = order()
    stream = StateBatchStream(plain, cache.as_needed(plain.examples.encoder_token_ids), steps=steps)
    return [{**x, "targets": y} for x, y in stream.dataset(first_step=first_step).as_numpy_iterator()]


def texts_of(steps):
    """Return the distinct texts of some steps, sorted."""
    plain = order()
    return sorted({tuple(plain.examples.encoder_token_ids[row]) for step in steps for row in plain.rows(step)})


@pytest.fixture
def computed(monkeypatch):
    """A list that grows with every batch of texts that is computed."""
    calls, batch = [], StateEncoder.batch

    def noted(self, token_ids):
        calls.append([tuple(ids) for ids in token_ids])
        return batch(self, token_ids)

    monkeypatch.setattr(StateEncoder, "batch", noted)
    return calls


@pytest.mark.parametrize("dtype", ROUNDING)
def test_batches_have_the_states_that_a_cache_computes_at_first(one_layer_t5, dtype):
    cache = StateCache(one_layer_t5, None, dtype=dtype)
    exact = StateCache(one_layer_t5, None, dtype="float32").of(order().examples.encoder_token_ids)

    found = batches(cache)

    assert len(found) == 9  # and no more
    for step, x in enumerate(found):
        ids = [order().examples.encoder_token_ids[row] for row in order().rows(step)]
        states, mask = exact.rows.take(tf.constant(exact.numbers_of(ids)))
        kept = mask.numpy() > 0
        assert [row[: len(own)].tolist() for row, own in zip(x["encoder_token_ids"], ids, strict=True)] == [
            own.tolist() for own in ids
        ]
        np.testing.assert_allclose(
            x[ENCODER_STATES].astype("float32")[kept], states.numpy()[kept], rtol=1.1 * ROUNDING[dtype], atol=1e-5
        )


@pytest.mark.parametrize(("steps", "windows"), [(1, [1]), (3, [1, 2]), (9, [1, 2, 4, 2])])
def test_a_text_is_computed_once_when_the_first_window_has_it(one_layer_t5, computed, steps, windows):
    batches(StateCache(one_layer_t5, None), steps=steps)

    assert sorted(text for batch in computed for text in batch) == texts_of(range(steps))
    first = texts_of(range(windows[0]))
    assert sorted(text for batch in computed for text in batch if text in first) == first
    assert [text in first for batch in computed for text in batch] == sorted(
        (text in first for batch in computed for text in batch), reverse=True
    )


def test_a_resumed_run_computes_texts_together_with_the_same_others(one_layer_t5, computed, monkeypatch):
    monkeypatch.setattr("softprompt_tf.states.encoding.TOKENS_PER_BATCH", 9)
    whole = batches(StateCache(one_layer_t5, None))
    together, computed[:] = list(computed), []

    resumed = batches(StateCache(one_layer_t5, None), first_step=4)

    assert computed
    assert len(computed) < len(together)
    assert all(batch in together for batch in computed)
    for one, other in zip(resumed, whole[4:], strict=True):
        np.testing.assert_array_equal(one[ENCODER_STATES], other[ENCODER_STATES])


def test_an_interrupted_training_ends_as_one_that_was_not(one_layer_t5, tmp_path):
    def trained(steps, directory):
        keras.utils.set_random_seed(4)
        model = sp.PromptedT5(one_layer_t5, sp.late_prompts(3, seed=1), max_target_tokens=6)
        model.compile(keras.optimizers.Adam(0.01), sp.TargetCrossEntropy())
        plain = order()
        states = model.state_cache().as_needed(plain.examples.encoder_token_ids)
        stream = StateBatchStream(plain, states, steps=9)
        sp.train_prompt(model, stream, steps=steps, seed=5, checkpoint_dir=directory)
        return model.task_tensors()

    whole = trained(9, tmp_path / "whole")
    trained(4, tmp_path / "cut")

    for name, value in trained(9, tmp_path / "cut").items():
        np.testing.assert_array_equal(value, whole[name])


def test_states_that_were_not_computed_are_not_read(one_layer_t5):
    ids = order().examples.encoder_token_ids
    states = StateCache(one_layer_t5, None).as_needed(ids)

    with pytest.raises(RuntimeError, match="A batch reads states that were not computed"):
        states.rows.take(tf.constant(states.numbers_of(ids[:2])))


def test_a_text_whose_states_float16_cannot_hold_is_kept_in_float32():
    t5 = make_tiny_t5()
    scale = t5.backbone.encoder_layer_norm.weights[0]
    scale.assign(scale * 3e4)
    ids = order().examples.encoder_token_ids
    exact = StateCache(t5, None, dtype="float32").of(ids)
    largest = [np.abs(row).max() for row in exact.rows.take(tf.constant(exact.numbers_of(ids)))[0].numpy()]
    assert min(largest) < 65_504 < max(largest)

    found = batches(StateCache(t5, None, dtype="float16"))

    for step, x in enumerate(found):
        own = exact.numbers_of([ids[row] for row in order().rows(step)])
        states, mask = exact.rows.take(tf.constant(own))
        kept = mask.numpy() > 0
        np.testing.assert_allclose(x[ENCODER_STATES][kept], states.numpy()[kept], rtol=2**-10, atol=1e-2)


def test_states_on_the_disk_are_read_and_not_computed_again(one_layer_t5, tmp_path, computed):
    ids = order().examples.encoder_token_ids
    StateCache(one_layer_t5, None, directory=tmp_path).of(ids)
    computed.clear()

    batches(StateCache(one_layer_t5, None, directory=tmp_path))

    assert computed == []


@pytest.mark.thorough
def test_a_run_computes_the_texts_of_its_steps_alone(tmp_path, computed):
    backbone, known = write_preset(tmp_path / "t5"), write_tasks(tmp_path)
    values = run_values(backbone, [known["mood"]], tmp_path / "out", steps=1)
    values["prompt"] = {"method": "late_prompts", "length": 3}

    result = train_run(load_config(write_yaml(tmp_path / "run.yaml", values)))

    texts = sum(map(len, computed))
    assert texts == 4 + 8  # one batch of four, and the dev rows
    assert json.loads((result.output_dir / "metrics.json").read_text())["history"]
