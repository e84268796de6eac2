"""Metrics by name."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

from softprompt_tf.errors import ConfigError
from softprompt_tf.settings.spelling import nearest
from softprompt_tf.tasks.metrics.answered_rows import AnsweredRows
from softprompt_tf.tasks.metrics.classification import accuracy, f1, group_accuracy, macro_f1, matthews_correlation
from softprompt_tf.tasks.metrics.question_answering import exact_match, token_f1
from softprompt_tf.tasks.metrics.regression import pearson_correlation, spearman_correlation
from softprompt_tf.tasks.metrics.rouge import check_rouge_is_installed, rouge1, rouge2, rouge_lsum

Metric = Callable[[AnsweredRows], float]
"""Answered rows -> a number in [0, 1], unless its docstring says otherwise."""

METRICS: Mapping[str, Metric] = {
    metric.__name__: metric
    for metric in (
        accuracy,
        f1,
        macro_f1,
        matthews_correlation,
        pearson_correlation,
        spearman_correlation,
        group_accuracy,
        exact_match,
        token_f1,
        rouge1,
        rouge2,
        rouge_lsum,
    )
}


def check_metrics(names: Iterable[str]) -> None:
    """Raise a ConfigError if there is no metric, one is unknown, or its package is not installed."""
    names = tuple(names)
    if not names:
        raise ConfigError(f"A task needs at least one metric. Received: none.{nearest('', METRICS)}")
    for name in names:
        if name not in METRICS:
            raise ConfigError(f"Unknown metric. Received: {name!r}.{nearest(str(name), METRICS)}")
        if name.startswith("rouge"):
            check_rouge_is_installed(name)


def compute_metrics(
    names: Iterable[str],
    targets: Sequence[str | Sequence[str]],
    predictions: Sequence[str],
    labels: Sequence[str] = (),
    *,
    groups: Sequence[Hashable] = (),
) -> dict[str, float]:
    """Compute several metrics.

    Args:
      names: keys of `METRICS`.
      targets: the right texts; where a row has several, a sequence of them, the target first.
      predictions: the written texts, as many.
      labels: the task's label words in label order, () for free text.
      groups: a key per row, equal for rows that belong to one question; () where every row is one.

    Returns:
      name -> value, in the order of `names`.

    Raises:
      ConfigError: if a name is unknown, or a metric needs labels or groups and there are none.
      DataError: if there are no rows, or not as many predictions as targets.
    """
    names = tuple(names)
    check_metrics(names)
    references = tuple((target,) if isinstance(target, str) else tuple(target) for target in targets)
    rows = AnsweredRows(references, tuple(predictions), tuple(labels), tuple(groups))
    return {name: METRICS[name](rows) for name in names}


def score(metrics: Mapping[str, float]) -> float:
    """Return the mean of a task's metrics, the number by which the best prompt is chosen."""
    return sum(metrics.values()) / len(metrics)
