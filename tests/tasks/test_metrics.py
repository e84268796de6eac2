"""Metrics against numbers worked out by hand."""

import math

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


def test_f1_takes_the_last_label_as_positive():
    # "yes": 2 hits, 1 false alarm, 1 miss; "no": 1 hit, 1 false alarm, 2 misses, one of them by "?".
    assert only("f1", TARGETS, PREDICTIONS, LABELS) == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
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


def test_token_f1_of_an_empty_prediction_is_zero():
    assert only("token_f1", ["cat"], [""]) == 0.0


@pytest.mark.parametrize("name", METRICS)
def test_perfect_predictions_score_one(name):
    assert only(name, TARGETS, TARGETS, LABELS) == pytest.approx(1.0)


def test_several_metrics_keep_their_order_and_score_is_their_mean():
    metrics = compute_metrics(("f1", "accuracy"), TARGETS, PREDICTIONS, LABELS)

    assert list(metrics) == ["f1", "accuracy"]
    assert score(metrics) == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_unknown_metric_names_the_nearest():
    with pytest.raises(ConfigError, match=r"Unknown metric. Received: 'macrof1'. Did you mean `macro_f1`\?"):
        compute_metrics(["macrof1"], TARGETS, PREDICTIONS)


@pytest.mark.parametrize(("targets", "predictions"), [(["a"], []), ([], [])])
def test_metrics_need_rows_and_as_many_predictions(targets, predictions):
    with pytest.raises(DataError, match=f"Received: {len(predictions)} predictions, {len(targets)} targets"):
        compute_metrics(["accuracy"], targets, predictions)
