"""ROUGE of summaries against counts made by hand."""

import sys

import pytest

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.tasks import Task, compute_metrics

ROUGE = ("rouge1", "rouge2", "rouge_lsum")


def test_rouge_counts_shared_words_pairs_and_sequences():
    pytest.importorskip("rouge_score")

    metrics = compute_metrics(ROUGE, ["the cat sat on the mat"], ["The cat lay on a mat"])

    # Words: the, cat, on, mat of 6 and 6. Pairs: "the cat" of 5 and 5. Longest common sequence: the cat on mat.
    assert metrics == pytest.approx({"rouge1": 4 / 6, "rouge2": 1 / 5, "rouge_lsum": 4 / 6})


def test_rouge_lsum_looks_at_sentences_one_by_one():
    pytest.importorskip("rouge_score")

    metrics = compute_metrics(ROUGE, ["b b . a a"], ["a a . b b"])

    # The sentences have changed places, so each is found whole; of the pairs, "b a" is not found.
    assert metrics == pytest.approx({"rouge1": 1.0, "rouge2": 2 / 3, "rouge_lsum": 1.0})


def test_rouge_is_the_mean_over_rows_of_the_best_reference():
    pytest.importorskip("rouge_score")

    assert compute_metrics(["rouge1"], [("red", "blue"), "green"], ["blue", "blue"]) == {"rouge1": 0.5}


def test_rouge_is_refused_where_it_can_count_nothing():
    pytest.importorskip("rouge_score")

    with pytest.raises(
        DataError, match="letters a to z and digits alone. Received: '情感', and no right answer with such"
    ):
        compute_metrics(["rouge1"], ["情感", ("ещё",)], ["情感", "a"])


def test_a_task_with_rouge_is_refused_where_the_package_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "rouge_score", None)

    with pytest.raises(
        ConfigError, match="The metric `rouge2` needs the package rouge-score. Received: it is not inst"
    ):
        Task("t", "{x}", metrics=("accuracy", "rouge2"))
