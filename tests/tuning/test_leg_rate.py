"""The rate within a leg, by hand numbers."""

import math

import numpy as np
import pytest

from softprompt_tf.tuning.leg_rate import LegRate


def rates(rate, steps):
    return [float(np.asarray(rate(step))) for step in steps]


def test_a_leg_warms_up_and_falls_to_0():
    rate = LegRate(2.0, "cosine")
    rate.begin(100, 100, 8, warm_up_steps=2)

    # Half of the first step's rate; then the cosine at 2, 4 and 8 eighths.
    expected = [1.0, 1 + math.cos(math.pi / 4), 1.0, 0.0]
    np.testing.assert_allclose(rates(rate, [100, 102, 104, 108]), expected, atol=1e-6)


def test_a_part_goes_on_where_the_part_before_ended():
    rate = LegRate(1.0, "cosine")
    rate.begin(0, 0, 10, progress=(0.0, 0.5))
    (end,) = rates(rate, [10])

    rate.begin(0, 10, 3, progress=(0.5, 1.0))

    np.testing.assert_allclose([end, *rates(rate, [10, 13, 99])], [0.5, 0.5, 0.0, 0.0], atol=1e-6)


def test_a_constant_rate_is_the_papers():
    rate = LegRate(0.3, "constant")
    rate.begin(0, 0, 10, warm_up_steps=5)

    assert rates(rate, [0, 5, 99]) == pytest.approx([0.3, 0.3, 0.3])
