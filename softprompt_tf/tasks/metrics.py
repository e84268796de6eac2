"""Metrics over texts: what should have been written and what was written enter, a number per metric leaves, so that
label tasks and free text are scored by the same call."""

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from sklearn import metrics as sklearn_metrics

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.names import nearest

Labels = Sequence[str]
Metric = Callable[..., float]
"""(targets, predictions, *, labels) -> a number in [0, 1]; `labels` are the task's label words, () without."""

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def accuracy(targets: Sequence[str], predictions: Sequence[str], *, labels: Labels = ()) -> float:
    """Return the share of predictions that equal their target; `labels` are not looked at."""
    return float(sklearn_metrics.accuracy_score(list(targets), list(predictions)))


def f1(targets: Sequence[str], predictions: Sequence[str], *, labels: Labels = ()) -> float:
    """Return the F1 of the positive label, the last one of `labels`; a text that is no label counts as negative.

    Raises:
      ConfigError: without labels.
    """
    if not labels:
        raise ConfigError("The metric `f1` needs a task with `labels`, the last one the positive one. Received: none.")
    is_target = [target == labels[-1] for target in targets]
    is_predicted = [prediction == labels[-1] for prediction in predictions]
    return float(sklearn_metrics.f1_score(is_target, is_predicted, zero_division=0.0))


def macro_f1(targets: Sequence[str], predictions: Sequence[str], *, labels: Labels = ()) -> float:
    """Return the mean of the F1 of each label, all labels weighted alike.

    A text that is no label is a miss for its target and no label of its own. Without `labels`, the targets' texts are
    the labels.
    """
    words = list(labels or dict.fromkeys(targets))
    score = sklearn_metrics.f1_score(list(targets), list(predictions), labels=words, average="macro", zero_division=0.0)
    return float(score)


def matthews_correlation(targets: Sequence[str], predictions: Sequence[str], *, labels: Labels = ()) -> float:
    """Return Matthews' correlation, for two labels or more; the one metric here that goes down to -1."""
    return float(sklearn_metrics.matthews_corrcoef(list(targets), list(predictions)))


def exact_match(targets: Sequence[str], predictions: Sequence[str], *, labels: Labels = ()) -> float:
    """Return the share of predictions that equal their target after SQuAD's normalisation.

    Source: Rajpurkar et al. 2016, SQuAD, arXiv:1606.05250, section 6.1 (case, punctuation and articles are ignored).
    """
    return _mean(
        float(_answer_words(target) == _answer_words(prediction))
        for target, prediction in zip(targets, predictions, strict=True)
    )


def token_f1(targets: Sequence[str], predictions: Sequence[str], *, labels: Labels = ()) -> float:
    """Return the mean F1 of the words that target and prediction share, after SQuAD's normalisation.

    Source: Rajpurkar et al. 2016, SQuAD, arXiv:1606.05250, section 6.1.
    """
    return _mean(_shared_words_f1(*pair) for pair in zip(targets, predictions, strict=True))


METRICS: Mapping[str, Metric] = {
    metric.__name__: metric for metric in (accuracy, f1, macro_f1, matthews_correlation, exact_match, token_f1)
}


def check_metrics(names: Iterable[str]) -> None:
    """Raise a ConfigError that names the nearest metric, if one is unknown or there is none."""
    names = tuple(names)
    if not names:
        raise ConfigError(f"A task needs at least one metric. Received: none.{nearest('', METRICS)}")
    for name in names:
        if name not in METRICS:
            raise ConfigError(f"Unknown metric. Received: {name!r}.{nearest(str(name), METRICS)}")


def compute_metrics(
    names: Iterable[str], targets: Sequence[str], predictions: Sequence[str], labels: Labels = ()
) -> dict[str, float]:
    """Compute several metrics.

    Args:
      names: keys of `METRICS`.
      targets: the right texts.
      predictions: the written texts, as many.
      labels: the task's label words in label order, () for free text.

    Returns:
      name -> value, in the order of `names`.

    Raises:
      ConfigError: if a name is unknown.
      DataError: if there are no rows, or not as many predictions as targets.
    """
    names = tuple(names)
    check_metrics(names)
    if len(targets) != len(predictions) or not targets:
        raise DataError(
            "Metrics need as many predictions as targets, and at least one. "
            f"Received: {len(predictions)} predictions, {len(targets)} targets."
        )
    return {name: METRICS[name](targets, predictions, labels=tuple(labels)) for name in names}


def score(metrics: Mapping[str, float]) -> float:
    """Return the mean of a task's metrics, the number by which the best prompt is chosen."""
    return _mean(metrics.values())


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values)


def _answer_words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_WITHOUT_PUNCTUATION)).split()


def _shared_words_f1(target: str, prediction: str) -> float:
    right, written = _answer_words(target), _answer_words(prediction)
    if not right or not written:
        return float(right == written)
    shared = (Counter(right) & Counter(written)).total()
    return 2.0 * shared / (len(right) + len(written))
