"""Which candidates of a rung go on."""

from types import SimpleNamespace

import pytest

from softprompt_tf.errors import TrainingError
from softprompt_tf.tuning.ladder import Ladder, Speed
from softprompt_tf.tuning.methods_tried import METHODS_TRIED
from softprompt_tf.tuning.planning import plan
from softprompt_tf.tuning.recipes import Recipe, batches_of
from softprompt_tf.tuning.record import Part, Record, Tried
from softprompt_tf.tuning.rungs import best_of, climb, last_leg
from softprompt_tf.tuning.search import Search


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


class Trainer:
    """Trains nothing; candidates of some numbers fail, and the clock goes on by each call."""

    def __init__(self, budget, *, seconds, fails=()):
        self.budget, self.seconds, self.fails = budget, seconds, fails

    def together(self, length):
        return 8

    def is_traced(self, recipes):
        return True

    def steps_of(self, recipe):
        return 5

    def train(self, recipes, part, **settings):
        assert {each.number for each in recipes} <= set(part.candidates)
        self.budget.spent_s += self.seconds
        error = TrainingError("The training loss must be finite.")
        return {each.number: error if each.number in self.fails else None for each in recipes}


@pytest.fixture
def begun(tmp_path):
    """Make a search of three candidates of one group with 100 s, each of whose looks is the same."""

    def make(**settings):
        budget = SimpleNamespace(spent_s=0.0, total_s=100.0, left_s=100.0)
        search = Search(
            t5=None,
            backbone="tiny",
            rows=None,
            record=record_of(tmp_path),
            budget=budget,
            output=tmp_path,
            seed=1,
            methods=METHODS_TRIED,
            trainer=Trainer(budget, **settings),
            scorer=None,
            watch=SimpleNamespace(stage=lambda *arguments, **named: None, step_ends_s=[]),
        )
        search.recipes, search.speed = tuple(map(recipe, (1, 2, 3))), Speed(step_s=1.0, row_s=0.01, trace_s=1.0)
        search.ladder = Ladder(counts=(3,), rung_s=10.0, last_s=40.0, sample=10, scorings=2)
        search.end_s, search.step_s = lambda recipe: 90.0, lambda recipe: 1.0
        search.look = lambda recipe: SimpleNamespace(score=0.5, log_probability=-0.5, one_answer=None)
        search.keep = lambda tried, looked: search.record.tried.append(tried)
        return search

    return make


@pytest.mark.parametrize("seconds", [1.0, 60.0], ids=["steps are left", "no step is left"])
def test_a_candidate_that_fails_in_the_pilot_has_failed(begun, seconds):
    search = begun(seconds=seconds, fails={2})

    last = climb(search)

    tries = search.record.tries_of("1")
    assert [tries[number].failure is None for number in (1, 2, 3)] == [True, False, True]
    assert (search.record.parts["1/1"].steps == 0, last.number) == (seconds == 60.0, 1)


def test_a_search_whose_first_steps_fail_says_why(begun):
    search = begun(seconds=1.0, fails={1})  # a prompt in front of the input
    search.t5, search.rows = SimpleNamespace(fingerprint=""), SimpleNamespace(task=SimpleNamespace(label_words=()))

    with pytest.raises(TrainingError, match=r"The training loss must be finite\."):
        plan(search, [])

    assert not search.record.path.exists()


@pytest.mark.parametrize(
    ("number", "done"),
    [(3, [(3, 0), (1, 0), (1, 1)]), (1, [(1, 0), (1, 1)])],
    ids=["of another candidate", "of the same one"],
)
def test_a_last_leg_is_of_one_candidate(begun, number, done):
    """More minutes may let another candidate win than the one whose last leg has begun."""
    search = begun(seconds=1.0)
    search.record.parts["last/0"] = Part((number,), (7,), 0, 20, (0.0, 0.5), 20, 0.0, 1.0)  # as version 0.2.0 wrote it
    search.record.tried = [Tried(number, "last", 27, 0.5, -0.5, 1.0)]

    last_leg(search, recipe(1))

    assert [(each.candidate, each.part) for each in search.record.tried] == done
    assert search.record.parts["last/1/1"].done == ((7,) if number == 1 else (0,))
