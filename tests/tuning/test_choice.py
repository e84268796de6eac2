"""Which look is the better one, by hand numbers."""

import pytest

from softprompt_tf.tuning.choice import is_better, ordered
from softprompt_tf.tuning.record import Tried

# Of 100 rows, a score of 0.8 has the standard error sqrt(0.8 * 0.2 / 100) = 0.04.


def tried(number, score, log_probability=None):
    return Tried(number, "1", 40, score, log_probability, 9.0)


def numbers(tries):
    return [each.candidate for each in tries]


def test_near_scores_are_ordered_by_the_log_probability_and_others_by_the_score():
    tries = [tried(1, 0.80, -0.7), tried(2, 0.77, -0.5), tried(3, 0.75, -0.1), tried(4, 0.60, -0.2), tried(5, None)]

    assert numbers(ordered(tries, rows=100)) == [2, 1, 3, 4, 5]


def test_with_many_rows_the_score_alone_decides():
    tries = [tried(1, 0.77, -0.5), tried(2, 0.80, -0.7)]

    assert numbers(ordered(tries, rows=10_000)) == [2, 1]


def test_a_log_probability_that_is_no_number_is_the_lowest():
    assert numbers(ordered([tried(1, 0.80), tried(2, 0.78, -0.7)], rows=100)) == [2, 1]


def test_without_log_probabilities_the_score_decides():
    assert numbers(ordered([tried(1, 0.77), tried(2, 0.80)], rows=100)) == [2, 1]


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (tried(2, 0.85, -0.9), True),  # the best so far is now more than an error of 0.036 away
        (tried(2, 0.77, -0.5), True),
        (tried(2, 0.81, -0.8), False),
        (tried(2, 0.80, -0.7), True),
        (tried(2, 0.70, -0.1), False),
        (tried(2, None), False),
        (tried(2, 0.82, None), False),
    ],
    ids=[
        *("far better", "near, more likely", "near, less likely", "equal", "far worse", "no number"),
        "no log-probability that is a number",
    ],
)
def test_a_new_look_replaces_the_best(new, expected):
    best = tried(1, 0.80, -0.7)

    assert is_better(new, best, [best], rows=100) is expected


def test_scores_do_not_drift_down_by_small_steps():
    before = [tried(1, 0.80, -0.7), tried(2, 0.77, -0.6)]

    assert not is_better(tried(3, 0.74, -0.5), before[1], before, rows=100)
