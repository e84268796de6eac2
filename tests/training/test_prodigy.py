"""Prodigy against the numbers of its authors' implementation (`tests/parity/record_prodigy.py`), and a run that goes on."""

import json
from pathlib import Path

import keras
import numpy as np
import prodigy_cases
import pytest
import tensorflow as tf

from softprompt_tf.config import TrainingConfig
from softprompt_tf.errors import ConfigError
from softprompt_tf.runs.configured import make_optimizer
from softprompt_tf.training import Prodigy, train_prompt
from softprompt_tf.training.callbacks import learning_rate

RECORDED = json.loads((Path(__file__).parents[1] / "parity" / "recorded" / "prodigy.json").read_text("utf-8"))
# Its rates are 0, 0.25, 0.5, 0.75 and then 1.
WARM_UP = keras.optimizers.schedules.PolynomialDecay(0.0, decay_steps=4, end_learning_rate=1.0)


@pytest.mark.parametrize("name", prodigy_cases.CASES)
def test_ten_steps_with_two_tensors_are_the_authors(name):
    settings, rates = prodigy_cases.CASES[name]
    variables = [keras.Variable(np.zeros_like(value, "float32")) for value in prodigy_cases.VALUES]
    optimizer = Prodigy(WARM_UP if rates == "warm-up" else 1.0, **settings)
    optimizer.build(variables)
    for variable, value in zip(variables, prodigy_cases.VALUES, strict=True):
        variable.assign(value)  # as where a prompt is set after `compile`
    step = tf.function(lambda gradients: optimizer.apply(gradients, variables), autograph=False)

    found = []
    for number in range(10):
        step([tf.constant(each) for each in prodigy_cases.gradients([v.numpy() for v in variables], number)])
        found.append(optimizer.d.numpy())

    np.testing.assert_allclose(found, RECORDED[name]["d"], rtol=1e-5)
    for variable, value in zip(variables, RECORDED[name]["values"], strict=True):
        np.testing.assert_allclose(variable.numpy(), value, rtol=1e-5)


class Trained:
    """A run of the tiny model."""

    def __init__(self, tiny, *, steps=6, checkpoint_dir=None):
        self.model = tiny.make_model(Prodigy(d0=1e-3, global_clipnorm=0.5))
        settings = {"seed": 0, "checkpoint_dir": checkpoint_dir, "checkpoint_every": 100}
        self.result = train_prompt(self.model, tiny.RandomBatches(), steps=steps, **settings)

    @property
    def state(self):
        return [variable.numpy() for variable in (self.model.prompt_variable, *self.model.optimizer.variables)]


def test_a_resumed_run_ends_bit_by_bit_the_same(tiny, tmp_path):
    alone = Trained(tiny)
    Trained(tiny, steps=3, checkpoint_dir=tmp_path / "checkpoints")

    resumed = Trained(tiny, checkpoint_dir=tmp_path / "checkpoints")

    assert resumed.result.steps_taken == 3
    assert learning_rate(alone.model) == float(alone.model.optimizer.d.numpy()) > 2e-3
    for value, expected in zip(resumed.state, alone.state, strict=True):
        np.testing.assert_array_equal(value, expected)


def test_gradients_are_clipped_by_their_global_norm():
    variables = [keras.Variable(value) for value in ([3.0], [1.0])]
    pairs = []
    for gradients, clip in (([[6.0], [8.0]], 5.0), ([[3.0], [4.0]], None)):  # of norm 10, and cut to 5
        for variable, value in zip(variables, (3.0, 1.0), strict=True):
            variable.assign([value])
        optimizer = Prodigy(d0=0.1, global_clipnorm=clip)
        for _ in range(2):
            optimizer.apply([tf.constant(each) for each in gradients], variables)
        pairs.append([variable.numpy() for variable in (*variables, optimizer.d)])

    for clipped, plain in zip(*pairs, strict=True):
        np.testing.assert_allclose(clipped, plain, rtol=1e-6)


def test_state_is_float32_and_four_values_for_each_that_is_trained():
    optimizer = Prodigy()

    optimizer.build([keras.Variable(np.zeros((4, 3)), dtype="bfloat16")])

    shapes = [tuple(variable.shape) for variable in optimizer.variables[2:]]  # after the step and the rate
    assert shapes.count((4, 3)) == 4
    assert {variable.dtype for variable in optimizer.variables[2:]} == {"float32"}


def test_config_round_trip():
    optimizer = Prodigy(WARM_UP, beta_3=0.9, weight_decay=0.1, safeguard_warmup=True, d_coef=2.0)

    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))

    assert isinstance(again, Prodigy)
    assert again.get_config() == optimizer.get_config()
    assert again.get_config()["growth_rate"] == np.inf


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta_1": 1.0}, "`beta_1` must be above 0 and below 1. Received: beta_1=1.0"),
        ({"weight_decay": -0.1}, "`weight_decay` must be 0 or above. Received: weight_decay=-0.1"),
        ({"d0": 0.0}, "`d0` must be above 0. Received: d0=0.0"),
        ({"growth_rate": 1.0}, "`growth_rate` must be above 1. Received: growth_rate=1.0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Prodigy(**settings)


@pytest.mark.parametrize(
    ("settings", "rates", "is_safeguarded"),
    [
        ({}, [1.0, 1.0], False),
        ({"learning_rate": None, "schedule": "cosine"}, [1.0, 0.0], False),
        ({"learning_rate": 0.5, "warmup_steps": 5}, [0.0, 0.5], True),
        ({"schedule": "cosine_restarts"}, [1.0, 0.0], True),
    ],
    ids=["steady", "null", "warm-up", "restarts"],
)
def test_a_config_needs_no_rate(settings, rates, is_safeguarded):
    optimizer = make_optimizer(TrainingConfig(optimizer="prodigy", steps=10, **settings))

    rate = optimizer._learning_rate
    found = [float(rate(step)) if callable(rate) else float(rate) for step in (0, 10)]
    np.testing.assert_allclose(found, rates, atol=1e-6)
    assert optimizer.get_config()["safeguard_warmup"] is is_safeguarded
