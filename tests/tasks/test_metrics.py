"""Metrics against numbers worked out by hand."""

import math

import numpy as np
import pytest

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.tasks import METRICS, compute_metrics, score

TARGETS = ["yes", "yes", "yes", "no", "no", "no"]
PREDICTIONS = ["yes", "yes", "no", "yes", "no", "?"]
LABELS = ("no", "yes")


def only(name, targets, predictions, labels=()):
    return compute_metrics([name], targets, predictions, labels)[name]


def test_accuracy_counts_equal_texts():
    assert only("accuracy", TARGETS, PREDICTIONS) == pytest.approx(3 / 6)


# A target, and what T5 writes for it: its tokenizer knows no accent apart from its letter, no wide digit, no end of a line.
FREE_TEXTS = ["gro\u0308\u00dfe", "\uff11\uff12", "a\n b", "\u0645\u0648"], ["gr\u00f6\u00dfe", "12", "a b", "\u0645"]


@pytest.mark.parametrize("name", ["accuracy", "group_accuracy", "exact_match", "token_f1", "macro_f1"])
def test_free_text_is_compared_in_the_form_that_t5_can_write(name):
    groups = {"groups": range(4)} if name == "group_accuracy" else {}

    assert compute_metrics([name], *FREE_TEXTS, **groups) == {name: 3 / 4}


def test_labels_are_compared_as_they_are():
    assert only("accuracy", ["\uff11"], ["1"], ("1", "\uff11")) == 0.0


def test_f1_takes_the_last_label_as_positive_and_a_stray_text_as_wrong():
    # "yes": 2 hits, 2 false alarms, one of them "?", 1 miss; "no": 1 hit, 1 false alarm, 2 misses, one of them "?".
    assert only("f1", TARGETS, PREDICTIONS, LABELS) == pytest.approx(2 * 2 / (2 * 2 + 2 + 1))
    assert only("f1", TARGETS, PREDICTIONS, ("yes", "no")) == pytest.approx(2 * 1 / (2 * 1 + 1 + 2))


def test_f1_without_hits_is_zero():
    assert only("f1", ["no"], ["no"], LABELS) == 0.0


def test_f1_needs_labels():
    with pytest.raises(ConfigError, match="`f1` needs a task with `labels`"):
        only("f1", TARGETS, PREDICTIONS)


def test_macro_f1_is_the_mean_over_labels_and_not_over_stray_texts():
    assert only("macro_f1", TARGETS, PREDICTIONS, LABELS) == pytest.approx((2 / 3 + 2 / 5) / 2)
    assert only("macro_f1", TARGETS, PREDICTIONS) == pytest.approx((2 / 3 + 2 / 5) / 2)


def test_matthews_correlation_of_two_labels():
    predictions = ["yes", "yes", "no", "yes", "no", "no"]  # 2 true positives, 2 true negatives, 1 of each error

    assert only("matthews_correlation", TARGETS, predictions) == pytest.approx((2 * 2 - 1 * 1) / math.sqrt(3**4))


def test_matthews_correlation_of_inverted_labels_is_minus_one():
    assert only("matthews_correlation", ["a", "b"], ["b", "a"]) == pytest.approx(-1.0)


def test_exact_match_ignores_case_punctuation_articles_and_spaces():
    targets = ["The Eiffel Tower.", "a", "cat", "theatre"]
    predictions = ["eiffel  tower", "the", "cats", "atre"]

    assert only("exact_match", targets, predictions) == pytest.approx(2 / 4)


def test_token_f1_counts_shared_words():
    # "the" is dropped; shared: "big", "big" of 3 and 4 words -> 2 * 2 / 7; the empty answer equals the empty answer.
    targets = ["the big big cat", "dog", "a"]
    predictions = ["Big, big dog barks", "cat", "the"]

    assert only("token_f1", targets, predictions) == pytest.approx((4 / 7 + 0 + 1) / 3)


def test_accuracy_takes_any_of_several_right_answers():
    assert only("accuracy", [("a", "b"), ("c",), "d"], ["b", "b", "d"]) == pytest.approx(2 / 3)


def test_question_answering_metrics_take_the_best_of_several_right_answers():
    targets = [("cat", "the big dog"), ("red", "blue sky")]
    predictions = ["Big dog!", "sky"]

    # Equal to the second answer; one word of the second answer's two: 2 * 1 / (2 + 1).
    assert only("exact_match", targets, predictions) == 0.5
    assert only("token_f1", targets, predictions) == pytest.approx((1 + 2 / 3) / 2)


def test_question_answering_metrics_count_the_first_row_of_a_group():
    targets, predictions = ["cat", "dog", "ox"], ["cat", "cat", "cow"]

    metrics = compute_metrics(["exact_match", "token_f1"], targets, predictions, groups=[(1, 1), (1, 1), (1, 2)])

    assert metrics == {"exact_match": 0.5, "token_f1": 0.5}


def test_group_accuracy_wants_all_rows_of_a_group_right():
    groups = [("p", "1"), ("p", "2"), ("p", "1"), ("q", "1")]

    # Group p1 has one wrong row, p2 and q1 are right.
    metrics = compute_metrics(["group_accuracy"], ["y", "y", "n", "n"], ["y", "y", "y", "n"], groups=groups)

    assert metrics["group_accuracy"] == pytest.approx(2 / 3)


def test_group_accuracy_parts_questions_of_the_same_number_in_two_passages():
    targets, predictions = ["y", "y"], ["y", "n"]

    by_both = compute_metrics(["group_accuracy"], targets, predictions, groups=[("p", 1), ("q", 1)])
    by_number = compute_metrics(["group_accuracy"], targets, predictions, groups=[1, 1])

    assert (by_both["group_accuracy"], by_number["group_accuracy"]) == (0.5, 0.0)


def test_group_accuracy_needs_groups():
    with pytest.raises(ConfigError, match="`group_accuracy` needs a task with `group_by`. Received: none."):
        only("group_accuracy", ["a"], ["a"])


def test_token_f1_of_an_empty_prediction_is_zero():
    assert only("token_f1", ["cat"], [""]) == 0.0


@pytest.mark.parametrize("name", sorted(METRICS.keys() - {"pearson_correlation", "spearman_correlation"}))
def test_perfect_predictions_score_one(name):
    # Two texts as long as a pair of words, for ROUGE-2; the groups do not part equal rows.
    targets = ["oh yes", "oh yes", "oh yes", "oh no", "oh no", "oh no"]

    metrics = compute_metrics([name], targets, targets, ("oh no", "oh yes"), groups=[0, 0, 1, 1, 2, 2])

    assert metrics[name] == pytest.approx(1.0)


def test_several_metrics_keep_their_order_and_score_is_their_mean():
    metrics = compute_metrics(("f1", "accuracy"), TARGETS, PREDICTIONS, LABELS)

    assert list(metrics) == ["f1", "accuracy"]
    assert score(metrics) == pytest.approx((4 / 7 + 1 / 2) / 2)


def test_unknown_metric_names_the_nearest():
    with pytest.raises(ConfigError, match=r"Unknown metric. Received: 'macrof1'. Did you mean `macro_f1`\?"):
        compute_metrics(["macrof1"], TARGETS, PREDICTIONS)


@pytest.mark.parametrize(
    ("targets", "groups", "message"),
    [
        (["a"], [1, 2], "a group for every row, or for none. Received: 2 groups, 1 row."),
        (["a", ()], [], "Every row needs a right answer. Received: none for row 2."),
    ],
)
def test_metrics_need_a_right_answer_and_a_group_per_row(targets, groups, message):
    with pytest.raises(DataError, match=message):
        compute_metrics(["accuracy"], targets, ["a"] * len(targets), groups=groups)


@pytest.mark.parametrize(
    ("targets", "received"), [(["a"], "0 predictions, 1 target"), ([], "0 predictions, 0 targets")]
)
def test_metrics_need_rows_and_as_many_predictions(targets, received):
    with pytest.raises(DataError, match=f"Received: {received}\\."):
        compute_metrics(["accuracy"], targets, [])


# === Numbers ===


def correlations(targets, predictions):
    names = ("pearson_correlation", "spearman_correlation")
    return tuple(compute_metrics(names, targets, predictions).values())


def test_correlations_of_written_numbers_by_hand():
    # Deviations -1, 0, 0, 1 and -1.5, -0.5, 0.5, 1.5: products 3, squares 2 and 5. The ranks have a tie at 2.5.
    targets, predictions = ["1", "2", "2", "3"], ["1.0", "2.0", "3.0", "4.0"]

    pearson, spearman = correlations(targets, predictions)

    assert pearson == pytest.approx(3 / np.sqrt(2 * 5))
    assert spearman == pytest.approx(np.corrcoef([1, 2.5, 2.5, 4], [1, 2, 3, 4])[0, 1])


def test_a_text_that_is_no_number_counts_as_minus_one():
    assert correlations(["0", "1", "4"], ["0", "one", "inf"]) == correlations(["0", "1", "4"], ["0", "-1", "-1"])


def test_equal_numbers_have_no_correlation():
    assert correlations(["1", "2"], ["3", "3"]) == correlations(["1"], ["1"]) == (0.0, 0.0)


def test_a_right_answer_that_is_no_number_is_refused():
    with pytest.raises(DataError, match="right answers that are numbers. Received: 'good'"):
        compute_metrics(["pearson_correlation"], ["good"], ["1"])
