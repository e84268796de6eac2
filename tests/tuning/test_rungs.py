"""Which candidates of a rung go on."""

import pytest

from softprompt_tf.errors import TrainingError
from softprompt_tf.tuning.recipes import Recipe, batches_of
from softprompt_tf.tuning.record import Record, Tried
from softprompt_tf.tuning.rungs import best_of


def recipe(number, *, length=20, method="prompt_tuning"):
    return Recipe(number, method, "class_labels", length, 1.0, "cosine")


def record_of(tmp_path, *tries):
    record = Record(tmp_path / "tune.json", {}, 10.0)
    record.tried = list(tries)
    return record


def tried(number, score, log_probability, failure=None):
    return Tried(number, "1", 40, score, log_probability, 9.0, failure=failure)


def order(found):
    return [each.number for each in found]


def test_the_best_score_is_first_then_the_log_probability_then_the_lower_number(tmp_path):
    tries = [tried(1, 0.5, -0.6), tried(2, 0.7, -0.9), tried(3, 0.7, -0.8), tried(4, 0.5, -0.6), tried(5, None, None)]
    going = [recipe(number) for number in (5, 4, 3, 2, 1)]

    assert order(best_of(record_of(tmp_path, *tries), "1", going, rows=10_000)) == [3, 2, 1, 4, 5]


def test_a_candidate_that_failed_does_not_go_on(tmp_path):
    tries = [tried(1, None, None, "The training loss must be finite."), tried(2, 0.1, -2.0)]

    assert order(best_of(record_of(tmp_path, *tries), "1", [recipe(1), recipe(2)], rows=100)) == [2]


def test_a_search_in_which_all_fail_says_why(tmp_path):
    tries = [tried(1, None, None, "The training loss must be finite.")]

    with pytest.raises(TrainingError, match=r"Received: 1 that failed: The training loss must be finite\."):
        best_of(record_of(tmp_path, *tries), "1", [recipe(1)], rows=100)


def test_candidates_train_at_once_by_length_and_place_and_as_the_memory_allows():
    going = [recipe(1), recipe(2, length=50), recipe(3), recipe(4, method="late_prompts"), recipe(5), recipe(6)]

    batches = batches_of(going, lambda length: 3 if length == 20 else 1)

    assert [order(batch) for batch in batches] == [[1, 3, 5], [6], [2], [4]]
