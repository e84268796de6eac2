"""The metrics of `compile`, against sums written out by hand and NumPy; nothing counts padding."""

import keras
import numpy as np
import pytest
from keras_user import INPUTS, LABELS, TARGETS, make_model

import softprompt_tf as sp
from softprompt_tf.errors import ConfigError
from softprompt_tf.model.compiled_parts import known_metrics

V = 6


def logits_of(*rows):
    """Return logits [B, U, V] whose likeliest ids are given."""
    return np.eye(V, dtype=np.float32)[np.array(rows)] * 3


def value(metric, *batches):
    for batch in batches:
        metric.update_state(*batch)
    return float(metric.result())


# Row 1: both tokens right, one padding "wrong". Row 2: one of three right.
TRUE = np.array([[2, 1, 0], [3, 4, 1]])
LOGITS = logits_of([2, 1, 5], [3, 5, 5])


def test_token_accuracy_counts_target_tokens_alone():
    assert value(sp.TokenAccuracy(), (TRUE, LOGITS)) == pytest.approx(3 / 5)
    assert value(sp.TokenAccuracy(), (TRUE[:1], LOGITS[:1]), (TRUE[1:], LOGITS[1:])) == pytest.approx(3 / 5)
    assert value(sp.TokenAccuracy(), (np.where(TRUE == 0, -100, TRUE), LOGITS)) == pytest.approx(3 / 6)
    assert value(sp.TokenAccuracy(pad_id=-100), (np.where(TRUE == 0, -100, TRUE), LOGITS)) == pytest.approx(3 / 5)


def test_exact_match_counts_rows():
    assert value(sp.ExactMatch(), (TRUE, LOGITS)) == pytest.approx(1 / 2)
    assert value(sp.ExactMatch(), (TRUE[:1], LOGITS[:1]), (TRUE, LOGITS)) == pytest.approx(2 / 3)
    assert value(sp.ExactMatch(), (np.zeros((1, 3), int), LOGITS[:1])) == 0.0  # a row without target tokens is none


@pytest.mark.parametrize(
    "weights", [[2.0, 1.0], [[2.0], [1.0]], np.array([[2.0] * 3, [1.0] * 3])], ids=["B", "B1", "BU"]
)
def test_weights_are_per_row_or_per_token(weights):
    weights = np.array(weights, np.float32)

    assert value(sp.TokenAccuracy(), (TRUE, LOGITS, weights)) == pytest.approx((2 * 2 + 1) / (2 * 2 + 3))
    assert value(sp.ExactMatch(), (TRUE, LOGITS, weights)) == pytest.approx(2 / 3)


def chosen_in_numpy(label_ids, row, logits):
    """Walk along the row's own tokens: where labels that agree so far go on, the likeliest of their next ids must be the row's."""
    width = max(map(len, label_ids))
    padded = [tuple(ids) + (0,) * (width - len(ids)) for ids in label_ids]
    row = tuple(row[row != 0])
    if row not in [tuple(ids) for ids in label_ids]:
        return False
    for u, token in enumerate(row):
        nexts = [ids[u] for ids in padded if ids[:u] == row[:u]]
        if any(logits[u, k] > logits[u, token] for k in nexts):
            return False
    return True


def test_label_accuracy_chooses_among_the_labels_token_by_token():
    label_ids = [[2, 1], [3, 4, 1], [3, 5, 1], [3, 1]]
    generator = np.random.default_rng(0)
    rows = [[2, 1, 0, 0], [3, 4, 1, 0], [3, 1, 0, 0], [3, 5, 1, 0], [2, 2, 1, 0], [3, 4, 1, 2]] * 20
    true, logits = np.array(rows), generator.normal(size=(120, 4, V)).astype(np.float32)
    expected = [chosen_in_numpy(label_ids, row, row_logits) for row, row_logits in zip(true, logits, strict=True)]

    assert 0.05 < np.mean(expected) < 0.5
    assert value(sp.LabelAccuracy(label_ids=label_ids), (true, logits)) == pytest.approx(np.mean(expected))
    short = true[:, 0] == 2
    got = value(sp.LabelAccuracy(label_ids=label_ids), (true[short][:, :2], logits[short][:, :2]))
    assert got == pytest.approx(
        np.mean([e and r[1] == 1 for e, r in zip(np.array(expected)[short], true[short], strict=True)])
    )


def test_label_accuracy_is_that_of_classify_where_first_tokens_decide(t5, model):
    first = [t5.tokenize([label])[0][0] for label in LABELS]
    assert len(set(first)) == 3

    got = model.evaluate(INPUTS, TARGETS, verbose=0, return_dict=True)

    right = [label.label == target for label, target in zip(model.classify(INPUTS), TARGETS, strict=True)]
    assert got["label_accuracy"] == pytest.approx(
        np.mean(right), abs=0.21
    )  # of long labels the rest may decide otherwise


def test_metrics_by_name_are_those_that_leave_padding_out(model):
    tokens, targets = (part for part in model.text_batches.tokenize({"encoder_text": INPUTS, "decoder_text": TARGETS}))
    targets, likeliest = targets.numpy(), model(tokens).numpy().argmax(-1)
    is_right = likeliest == targets
    weights = np.array([1.0, 0.5, 2.0, 0.0, 3.0])

    got = model.evaluate(INPUTS, TARGETS, sample_weight=weights, batch_size=2, verbose=0, return_dict=True)

    assert got["accuracy"] == pytest.approx(is_right[targets != 0].mean())
    assert got["exact_match"] == pytest.approx((is_right | (targets == 0)).all(axis=1).mean())
    counted = (targets != 0) * weights[:, None]
    assert got["weighted_accuracy"] == pytest.approx((is_right * counted).sum() / counted.sum())


@pytest.mark.parametrize(
    "metrics",
    ["accuracy", ["acc"], [["accuracy"]], {"logits": "accuracy"}],
    ids=str,
)
def test_accuracy_means_the_masked_one_in_every_form(metrics):
    known = known_metrics(metrics, lambda metric: None)

    while not isinstance(known, keras.metrics.Metric):
        known = next(iter(known.values() if isinstance(known, dict) else known))
    assert isinstance(known, sp.TokenAccuracy)
    assert known.name in ("accuracy", "acc")


@pytest.mark.parametrize("name", ["sparse_categorical_accuracy", "crossentropy", "mse"])
def test_metrics_of_keras_by_name_are_refused(t5, name):
    with pytest.raises(ConfigError, match=f"Metrics by name must be among accuracy, .*Received: '{name}'"):
        make_model(t5).compile(metrics=[name])


def test_losses_of_keras_by_name_are_refused(t5):
    with pytest.raises(ConfigError, match="Received: loss='sparse_categorical_crossentropy'. Use TargetCrossEntropy"):
        make_model(t5).compile(loss="sparse_categorical_crossentropy")


def test_the_class_of_a_loss_is_refused_and_that_of_a_metric_made(t5):
    model = make_model(t5)

    with pytest.raises(ConfigError, match=r"Received: the class TargetCrossEntropy. Use TargetCrossEntropy\(\)"):
        model.compile(loss=sp.TargetCrossEntropy)
    given = []
    (metric,) = known_metrics([sp.LabelAccuracy], given.append)
    assert given == [metric]


def test_label_accuracy_needs_labels(t5):
    with pytest.raises(ConfigError, match="Label accuracy needs labels. Received: none"):
        make_model(t5, labels=()).compile(metrics=["label_accuracy"])
    with pytest.raises(ConfigError, match="must be a list of words. Received: the string 'good'"):
        sp.LabelAccuracy("good")
    with pytest.raises(ConfigError, match="LabelAccuracy has no labels yet"):
        sp.LabelAccuracy().update_state(TRUE, LOGITS)


def test_label_accuracy_is_for_the_labels_of_one_model(t5):
    metric = sp.LabelAccuracy()
    make_model(t5).compile(metrics=[metric])

    make_model(t5).compile(metrics=[metric])  # the same labels
    with pytest.raises(
        ConfigError, match=r"compiled for \['good', 'no', 'a bad one'\], and a model of \['no', 'good'\]"
    ):
        make_model(t5, labels=("no", "good")).compile(metrics=[metric])


@pytest.mark.parametrize(
    "make", [sp.TokenAccuracy, sp.ExactMatch, lambda: sp.LabelAccuracy(label_ids=[[2, 1], [3, 4, 1]])]
)
def test_a_metric_comes_back_from_its_config(make):
    metric = make()

    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))

    assert type(again) is type(metric)
    assert value(again, (TRUE, LOGITS)) == value(metric, (TRUE, LOGITS)) > 0
