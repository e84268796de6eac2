"""Metrics of questions with short free answers, as SQuAD defines them."""

import re
import string
from collections import Counter
from collections.abc import Callable

from softprompt_tf.tasks.metrics.answered_rows import AnsweredRows, plain_form

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def exact_match(rows: AnsweredRows) -> float:
    """Return the share of questions whose prediction equals a right answer after SQuAD's normalisation.

    Where rows are grouped, a group is one question, and its first row counts.

    Source: Rajpurkar et al. 2016, SQuAD, arXiv:1606.05250, section 6.1 (case, punctuation and articles are ignored).
    """
    return _mean_of_best(rows, lambda right, written: float(right == written))


def token_f1(rows: AnsweredRows) -> float:
    """Return the mean F1 of the words that the prediction shares with the right answer that fits it best.

    Words are those left by SQuAD's normalisation; where none are left on both sides, they are equal (1). Where rows are
    grouped, a group is one question, and its first row counts.

    Source: Rajpurkar et al. 2016, SQuAD, arXiv:1606.05250, section 6.1.
    """
    return _mean_of_best(rows, _shared_words_f1)


def _mean_of_best(rows: AnsweredRows, compare: Callable[[list[str], list[str]], float]) -> float:
    questions = [members[0] for members in rows.members().values()]
    best = [
        max(compare(_words(answer), _words(rows.predictions[number])) for answer in rows.references[number])
        for number in questions
    ]
    return sum(best) / len(best)


def _words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", plain_form(text).lower().translate(_WITHOUT_PUNCTUATION)).split()


def _shared_words_f1(right: list[str], written: list[str]) -> float:
    if not right or not written:
        return float(right == written)
    shared = (Counter(right) & Counter(written)).total()
    return 2.0 * shared / (len(right) + len(written))
