"""Results: one whole file each, known by their config."""

import json
import math

import pytest

from softprompt_tf.errors import DataError
from softprompt_tf.experiments.results import ResultStore, RunResult, digest, score_of


def result(**changes):
    values = {
        "experiment": "prompt_length",
        "arm": "prompt_tuning",
        "x": 5,
        "task": "mood",
        "eval_task": "mood",
        "seed": 1,
        "metrics": {"accuracy": 0.25, "macro_f1": 0.75},
        "score": 50.0,
        "step": 4,
        "seconds": 1.5,
        "backbone": "tiny",
        "config": {"seed": 1, "x": 5},
    }
    return RunResult(**values | changes)


def test_a_result_comes_back_as_it_was_written(tmp_path):
    store = ResultStore(tmp_path / "results")
    one, other = result(), result(x="class_labels", step=None, seed=2, config={"seed": 2})

    assert not store.is_finished(one.config)
    store.write(one)
    store.write(other)

    assert store.is_finished({"x": 5, "seed": 1})  # in whatever order
    assert not store.is_finished({"x": 5, "seed": 3})
    assert store.read(one.config) == one
    assert store.read({"seed": 9}) is None
    assert store.results() == [one, other]
    assert list(store) == store.results()


def test_results_are_sorted_by_number_before_text(tmp_path):
    store = ResultStore(tmp_path)
    for number, x in enumerate([100, 5, "text", 20, None]):
        store.write(result(x=x, config={"number": number}))

    assert [each.x for each in store.results()] == [5, 20, 100, None, "text"]


def test_a_result_of_the_same_config_takes_the_place_of_the_first(tmp_path):
    store = ResultStore(tmp_path)
    store.write(result(score=10.0))
    store.write(result(score=20.0))

    assert [each.score for each in store.results()] == [20.0]


def test_the_digest_follows_the_values_and_not_their_order():
    assert digest({"a": 1, "b": [2, 3]}) == digest({"b": [2, 3], "a": 1})
    assert digest({"a": 1, "b": [2, 3]}) != digest({"a": 1, "b": [3, 2]})
    assert digest({"a": 1}) == "f9d86028c6e0d64e"  # the first 16 digits of sha256 of {"a": 1}


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [({"accuracy": 0.5}, 50.0), ({"f1": 0.25, "accuracy": 0.75}, 50.0), ({"matthews": -0.2}, 0.0)],
    ids=["one", "two", "below zero"],
)
def test_a_score_is_the_mean_of_the_metrics_from_0_to_100(metrics, expected):
    assert score_of(metrics) == pytest.approx(expected)


def test_a_score_of_no_metric_is_refused():
    with pytest.raises(DataError, match="needs at least one metric. Received: none"):
        score_of({})


@pytest.mark.parametrize("score", [-0.1, 100.1, math.nan])
def test_a_score_out_of_range_is_refused(score):
    with pytest.raises(DataError, match="must be a number from 0 to 100. Received: score="):
        result(score=score)


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b'{"format": "another/1"}', b'{"experiment": "x"}'],
    ids=["cut off", "no mapping", "another format", "no format"],
)
def test_a_damaged_result_is_named(tmp_path, content):
    (tmp_path / "0123.json").write_bytes(content)

    with pytest.raises(DataError, match=r"Received: .*0123\.json .*Remove it to repeat the run"):
        ResultStore(tmp_path).results()


def test_a_result_with_a_missing_field_is_named(tmp_path):
    path = ResultStore(tmp_path).write(result())
    values = json.loads(path.read_text("utf-8"))
    del values["metrics"]
    path.write_text(json.dumps(values), encoding="utf-8")

    with pytest.raises(DataError, match=f"{path.name}.*metrics"):
        ResultStore(tmp_path).results()
