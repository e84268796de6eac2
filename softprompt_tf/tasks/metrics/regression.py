"""Metrics of tasks whose answers are numbers written as text, such as STS-B."""

import math
from typing import Any

from softprompt_tf.errors import DataError
from softprompt_tf.tasks.metrics.answered_rows import AnsweredRows

_NO_NUMBER = -1.0


def pearson_correlation(rows: AnsweredRows) -> float:
    """Return Pearson's correlation of the written numbers with the right ones, from -1 to 1.

    A text that is no number counts as -1. Where all of one side are equal there is no correlation: 0.

    Raises:
      DataError: if a right answer is no number.

    Source: google-research/text-to-text-transfer-transformer, `t5/evaluation/metrics.py:pearson_corrcoef` and
    `postprocessors.py:string_to_float`.
    """
    right, written = _numbers(rows)
    return 0.0 if _is_flat(right, written) else float(_stats().pearsonr(right, written).statistic)


def spearman_correlation(rows: AnsweredRows) -> float:
    """Return Spearman's correlation, that of the ranks, from -1 to 1; texts that are no number count as for Pearson's."""
    right, written = _numbers(rows)
    return 0.0 if _is_flat(right, written) else float(_stats().spearmanr(right, written).statistic)


def _stats() -> Any:
    """Import SciPy's statistics here: they take a second, and most tasks do without."""
    from scipy import stats

    return stats


def _numbers(rows: AnsweredRows) -> tuple[list[float], list[float]]:
    right = [_number(text) for text in rows.targets]
    if None in right:
        text = rows.targets[right.index(None)]
        raise DataError(f"A correlation needs right answers that are numbers. Received: {text!r}.")
    written = [_number(text) for text in rows.predictions]
    return [value for value in right if value is not None], [_NO_NUMBER if each is None else each for each in written]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _is_flat(*sides: list[float]) -> bool:
    return any(len(set(side)) < 2 for side in sides)
