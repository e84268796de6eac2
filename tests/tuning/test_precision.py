"""A search takes the precision that was asked for, or chooses one, keeps it and goes on with it."""

import json

import numpy as np
import pytest
from tiny_t5 import make_tiny_t5
from tuning_searches import Killed, mood_task

from softprompt_tf.errors import TrainingError
from softprompt_tf.runs import precision_choice
from softprompt_tf.runs.precision_choice import Measured
from softprompt_tf.tuning import run_search
from softprompt_tf.tuning.precision import measured_search, precision_of
from softprompt_tf.tuning.record import Record
from softprompt_tf.tuning.rows import divided, read_rows_of
from softprompt_tf.tuning.settings import SearchSettings


@pytest.fixture(autouse=True)
def units(monkeypatch):
    """This machine has units for bfloat16."""
    monkeypatch.setattr(precision_choice, "why_not_bfloat16", lambda: "")


def faster():
    return [Measured(seconds, (2.0,), (np.array([3.0, 4.0]),)) for seconds in (1.0, 0.5)]


def never():
    raise AssertionError("measured again")


def test_a_named_precision_is_not_measured(tmp_path):
    assert precision_of(SearchSettings("mini", tmp_path), never) == "float32"
    assert precision_of(SearchSettings("mini", tmp_path, precision="bfloat16"), never) == "bfloat16"
    assert list(tmp_path.iterdir()) == []


def test_a_choice_is_kept_for_the_same_settings(tmp_path, capsys):
    settings = SearchSettings("mini", tmp_path, precision="auto")

    assert precision_of(settings, faster) == precision_of(settings, never) == "bfloat16"
    assert json.loads((tmp_path / "precision.json").read_text())["precision"] == "bfloat16"
    assert capsys.readouterr().err.count("precision: bfloat16 (0.50 times as long as float32") == 1

    other = SearchSettings("other", tmp_path, precision="auto")
    assert precision_of(other, lambda: faster()[::-1]) == precision_of(other, never) == "float32"
    assert precision_of(other, faster, task={"name": "other"}) == "bfloat16"


@pytest.mark.parametrize(
    ("identity", "precision"), [({}, "float32"), ({"precision": "bfloat16"}, "bfloat16")], ids=["of before", "named"]
)
def test_a_search_that_began_with_a_named_precision_goes_on_with_it(tmp_path, identity, precision):
    Record(tmp_path / "tune.json", identity, 1.0).write()

    assert precision_of(SearchSettings("mini", tmp_path, precision="auto"), never) == precision


def test_a_search_that_was_killed_goes_on_in_its_precision(tmp_path, monkeypatch):
    loaded, t5 = [], make_tiny_t5("bfloat16", num_layers=1)
    settings = SearchSettings("tiny", tmp_path, precision="auto")

    def killed_search(plan):
        monkeypatch.setattr(run_search, "plan", plan)
        with pytest.raises(Killed):
            run_search.run_search(mood_task(), lambda precision: loaded.append(precision) or t5, settings)

    def killed_before_its_plan(search, sources):
        raise Killed

    def killed_with_a_plan(search, sources):
        search.keep_record()
        raise Killed

    monkeypatch.setattr(run_search, "measured_search", lambda *_: faster())
    killed_search(killed_before_its_plan)
    monkeypatch.setattr(run_search, "measured_search", lambda *_: never())
    killed_search(killed_with_a_plan)
    killed_search(killed_with_a_plan)

    assert loaded == ["bfloat16"] * 3
    with pytest.raises(TrainingError, match="`precision` is 'float32', it was 'bfloat16'"):
        run_search.run_search(mood_task(), lambda _: make_tiny_t5(num_layers=1), SearchSettings("tiny", tmp_path))


@pytest.mark.thorough
def test_both_precisions_are_measured_on_the_rows_of_the_first_candidate(tmp_path):
    task = mood_task()
    rows = divided(task, read_rows_of(task), seed=1)

    def load(precision):
        return make_tiny_t5(precision, num_layers=1)

    exact, rounded = measured_search(rows, load, SearchSettings("tiny", tmp_path))

    # A prompt of 20 rows over the 12 training rows, which are one batch; H = 16.
    assert [vector.shape for vector in exact.vectors] == [(20 * 16,)] * 3
    assert np.ptp(exact.losses) < 1e-4
    assert exact.losses != rounded.losses
    np.testing.assert_allclose(exact.losses, rounded.losses, rtol=0.02)
    assert list(tmp_path.iterdir()) == []
