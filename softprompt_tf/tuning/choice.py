"""Which look at a candidate is the better one, where a few hundred rows leave the scores uncertain.

Scores within one standard error of the best count as equal (the rule of Breiman et al. 1984, Classification and Regression Trees),
and the log-probability of the right labels decides between them: it moves with every row, a score only with rows that change sides.
"""

import math
from collections.abc import Iterable, Sequence

from softprompt_tf.tuning.record import Tried

_WORST = float("-inf")


def ordered(tries: Sequence[Tried], *, rows: int) -> list[Tried]:
    """Return looks, the best first: those near the best score by log-probability, then the others by score.

    Args:
      tries: looks at different candidates on the same rows. Of equal ones the first stays first.
      rows: how many rows they were scored on.
    """
    least, has_labels = _least(tries, rows), _have_labels(tries)

    def key(tried: Tried) -> tuple[bool, float, float]:
        score, log_probability = _score(tried), _log_probability(tried, has_labels=has_labels)
        return (True, log_probability, score) if score >= least else (False, score, log_probability)

    return sorted(tries, key=key, reverse=True)


def is_better(new: Tried, best: Tried, before: Iterable[Tried], *, rows: int) -> bool:
    """Return whether a new look replaces the best one; of equal ones the new one does.

    Args:
      new: the look.
      best: the best one so far.
      before: all looks before it, whose best score no look may be far from.
      rows: how many rows they were scored on.
    """
    tries = [*before, new]
    least, has_labels = _least(tries, rows), _have_labels(tries)
    if _score(new) < least or _score(best) < least:
        return _score(new) >= least
    of_new, of_best = (_log_probability(each, has_labels=has_labels) for each in (new, best))
    return (of_new, _score(new)) >= (of_best, _score(best))


def _least(tries: Iterable[Tried], rows: int) -> float:
    """Return the best score less its standard error, as that of a share of rows."""
    best = max((_score(each) for each in tries), default=_WORST)
    share = min(1.0, max(0.0, best))
    return best - math.sqrt(share * (1 - share) / max(1, rows))


def _score(tried: Tried) -> float:
    return _WORST if tried.score is None else tried.score


def _have_labels(tries: Iterable[Tried]) -> bool:
    return any(each.log_probability is not None for each in tries)


def _log_probability(tried: Tried, *, has_labels: bool) -> float:
    """Return it; where it is no number, the lowest, and for a task without labels the score, which alone decides there."""
    if tried.log_probability is None:
        return _WORST if has_labels else _score(tried)
    return tried.log_probability
