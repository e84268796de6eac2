"""Warm restarts of the learning rate by hand numbers, and the optimizers that a config asks for."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from softprompt_tf.config import TrainingConfig
from softprompt_tf.errors import ConfigError
from softprompt_tf.runs.configured import make_optimizer
from softprompt_tf.training import CosineRestarts, ScheduleFreeAdam

EIGHTH = 0.5 * (1 + np.sqrt(0.5))  # of a cosine's way from 1 to 0, after a quarter of its steps
VALUES = {
    # Cosines of 2, 4 and 8 steps.
    "three cycles": (
        {"steps": 14, "cycles": 3},
        {0: 1, 1: 0.5, 2: 1, 3: EIGHTH, 4: 0.5, 6: 1, 8: EIGHTH, 10: 0.5, 14: 0},
    ),
    # 4 steps of warm-up, then cosines of 2 and 4 steps.
    "warm-up": (
        {"steps": 10, "cycles": 2, "warmup_steps": 4},
        {0: 0, 1: 0.25, 3: 0.75, 4: 1, 5: 0.5, 6: 1, 7: EIGHTH, 8: 0.5, 10: 0, 11: 0},
    ),
    # 7 steps, cut at 7 / 3 = 2.33: the first cosine has done 6 / 7 of its way at step 2.
    "between two steps": ({"steps": 7, "cycles": 2}, {2: 0.5 * (1 + np.cos(np.pi * 6 / 7)), 7: 0}),
    "one cycle": ({"steps": 4, "cycles": 1}, {0: 1, 1: EIGHTH, 2: 0.5, 4: 0}),
}


@pytest.mark.parametrize(("settings", "expected"), VALUES.values(), ids=VALUES.keys())
def test_the_rate_is_that_of_hand_numbers(settings, expected):
    rate = tf.function(CosineRestarts(3.0, **settings), autograph=False)

    actual = [float(rate(tf.constant(step, "int64"))) for step in expected]

    np.testing.assert_allclose(actual, [3.0 * value for value in expected.values()], atol=1e-6)


def test_config_round_trip():
    schedule = CosineRestarts(3.0, 30, cycles=3, warmup_steps=4)

    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule))

    assert isinstance(again, CosineRestarts)
    assert again.get_config() == schedule.get_config()


def test_a_config_gives_restarts_and_schedule_free_adam():
    settings = {"learning_rate": 2.0, "steps": 10, "warmup_steps": 4}

    restarts = make_optimizer(TrainingConfig(schedule="cosine_restarts", cycles=2, **settings))
    schedule_free = make_optimizer(TrainingConfig(optimizer="schedule_free_adam", **settings))

    assert restarts._learning_rate.get_config() == settings | {"cycles": 2}
    assert isinstance(schedule_free, ScheduleFreeAdam)
    rates = [float(schedule_free._learning_rate(step)) for step in (0, 1, 4, 9)]
    np.testing.assert_allclose(rates, [0.0, 0.5, 2.0, 2.0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "schedule_free_adam", "schedule": "cosine"}, "`training.schedule: constant`.*schedule=cosine"),
        ({"schedule": "cosine_restarts", "cycles": 4, "steps": 20, "warmup_steps": 6}, "need 15 steps.*warmup_steps=6"),
    ],
    ids=["schedule-free with a schedule", "too few steps"],
)
def test_settings_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        make_optimizer(TrainingConfig(**settings))


def test_impossible_settings_are_refused():
    with pytest.raises(ConfigError, match="Received: cycles=0, warmup_steps=0"):
        CosineRestarts(1.0, 10, cycles=0)
