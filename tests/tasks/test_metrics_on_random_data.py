"""Metrics on drawn data against scikit-learn and against plain twins written here from the papers' definitions."""

import re
import string
from collections import Counter, defaultdict

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from softprompt_tf.tasks import compute_metrics

WORDS = ["the", "a", "cat", "dog", "U.S.", "re-run", "Blue", "blue", "1,000", "—", "an", "sky"]
LABELS = ("entailment", "contradiction", "neutral")

seeds = pytest.mark.parametrize("seed", range(5))


def only(name, targets, predictions, labels=(), **more):
    return compute_metrics([name], targets, predictions, labels, **more)[name]


def drawn(seed, words, count=60):
    generator = np.random.default_rng(seed)
    return generator.choice(words, count).tolist(), generator.choice(words, count).tolist()


@seeds
def test_label_metrics_are_scikit_learns(seed):
    targets, predictions = drawn(seed, LABELS)
    mean_f1 = np.mean(sklearn_metrics.f1_score(targets, predictions, labels=LABELS, average=None))

    metrics = compute_metrics(["accuracy", "macro_f1", "matthews_correlation"], targets, predictions, LABELS)

    assert metrics["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(targets, predictions))
    assert metrics["macro_f1"] == pytest.approx(mean_f1)
    assert metrics["matthews_correlation"] == pytest.approx(sklearn_metrics.matthews_corrcoef(targets, predictions))


@seeds
def test_f1_over_all_answers_counts_stray_texts_as_wrong(seed):
    targets, predictions = drawn(seed, ["False", "True", "maybe"])
    targets = ["False" if target == "maybe" else target for target in targets]
    pairs = Counter(zip(targets, predictions, strict=True))
    hits, false_alarms = pairs["True", "True"], pairs["False", "True"] + pairs["False", "maybe"]
    misses = pairs["True", "False"] + pairs["True", "maybe"]

    value = only("f1", targets, predictions, ("False", "True"))

    precision, recall = hits / (hits + false_alarms), hits / (hits + misses)
    assert value == pytest.approx(2 * precision * recall / (precision + recall))


@seeds
def test_group_accuracy_is_the_share_of_questions_without_a_mistake(seed):
    targets, predictions = drawn(seed, ["False", "True"], 40)
    groups = [(passage, question) for passage, question in np.random.default_rng(seed).integers(0, 3, (40, 2)).tolist()]
    mistakes = defaultdict(int)
    for group, target, prediction in zip(groups, targets, predictions, strict=True):
        mistakes[group] += target != prediction

    value = only("group_accuracy", targets, predictions, groups=groups)

    assert value == pytest.approx(np.mean([count == 0 for count in mistakes.values()]))


def normalised(text):
    """SQuAD's normalisation: lower case, no punctuation, no articles, single spaces."""
    text = "".join(character for character in text.lower() if character not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def shared_f1(right, written):
    right, written = normalised(right).split(), normalised(written).split()
    if not right and not written:
        return 1.0
    shared = sum(min(right.count(word), written.count(word)) for word in set(right))
    if shared == 0:
        return 0.0
    precision, recall = shared / len(written), shared / len(right)
    return 2 * precision * recall / (precision + recall)


@seeds
def test_question_answering_metrics_are_those_of_squads_definition(seed):
    generator = np.random.default_rng(seed)
    text = lambda: " ".join(generator.choice(WORDS, generator.integers(0, 4)))
    targets = [tuple(text() for _ in range(generator.integers(1, 4))) for _ in range(80)]
    predictions = [text() for _ in range(80)]

    metrics = compute_metrics(["exact_match", "token_f1"], targets, predictions)

    pairs = list(zip(targets, predictions, strict=True))
    exact = [any(normalised(answer) == normalised(written) for answer in answers) for answers, written in pairs]
    f1 = [max(shared_f1(answer, written) for answer in answers) for answers, written in pairs]
    assert 0 < sum(exact) < 80
    assert metrics == pytest.approx({"exact_match": np.mean(exact), "token_f1": np.mean(f1)})
