"""Metrics of tasks whose answers are labels, and accuracy of any text."""

from typing import Any

from softprompt_tf.errors import ConfigError
from softprompt_tf.tasks.metrics.answered_rows import AnsweredRows, plain_form


def accuracy(rows: AnsweredRows) -> float:
    """Return the share of predictions that equal their target, or any of several right answers.

    Without `labels`, spaces and the Unicode form of a text (NFKC) do not count: T5's tokenizer does not keep them.
    """
    right = rows.is_right()
    return sum(right) / len(right)


def f1(rows: AnsweredRows) -> float:
    """Return the F1 of the positive label, the last one of `labels`; a text that is no label is wrong whatever the target.

    Over all answers of all questions of MultiRC it is that data set's F1a.

    Raises:
      ConfigError: without labels.

    Source: google-research/text-to-text-transfer-transformer, `t5/evaluation/metrics.py:f1_score_with_invalid`.
    """
    if not rows.labels:
        raise ConfigError("The metric `f1` needs a task with `labels`, the last one the positive one. Received: none.")
    positive = rows.labels[-1]
    is_target = [target == positive for target in rows.targets]
    is_predicted = [
        text == positive if text in rows.labels else not right
        for right, text in zip(is_target, rows.predictions, strict=True)
    ]
    return float(_scikit_learn().f1_score(is_target, is_predicted, zero_division=0.0))


def macro_f1(rows: AnsweredRows) -> float:
    """Return the mean of the F1 of each label, all labels weighted alike: CB's "mean 3-class F1".

    A text that is no label is a miss for its target and no label of its own. Without `labels`, the targets' texts are
    the labels, compared as for `accuracy`.
    """
    targets, predictions = _compared(rows)
    words = list(rows.labels or dict.fromkeys(targets))
    return float(_scikit_learn().f1_score(targets, predictions, labels=words, average="macro", zero_division=0.0))


def matthews_correlation(rows: AnsweredRows) -> float:
    """Return Matthews' correlation, for two labels or more, from -1 to 1."""
    return float(_scikit_learn().matthews_corrcoef(*_compared(rows)))


def group_accuracy(rows: AnsweredRows) -> float:
    """Return the share of groups whose rows are all answered right: with one group per question, MultiRC's exact match.

    Raises:
      ConfigError: without groups.

    Source: Khashabi et al. 2018, MultiRC; Wang et al. 2019, SuperGLUE, arXiv:1905.00537, section 3.2. T5's code groups by the
    number of the question alone: the same on SuperGLUE's release, whose numbers run on over all passages, but not on data whose
    numbers begin again with every passage. Group by passage and question.
    """
    if not rows.groups:
        raise ConfigError("The metric `group_accuracy` needs a task with `group_by`. Received: none.")
    right = rows.is_right()
    groups = rows.members().values()
    return sum(all(right[number] for number in members) for members in groups) / len(groups)


def _compared(rows: AnsweredRows) -> tuple[list[str], list[str]]:
    """Return targets and predictions; of free text, in the form that `plain_form` gives."""
    form = str if rows.labels else plain_form
    return [*map(form, rows.targets)], [*map(form, rows.predictions)]


def _scikit_learn() -> Any:
    """Import it here: it takes seconds, and most tasks do without."""
    from sklearn import metrics

    return metrics
