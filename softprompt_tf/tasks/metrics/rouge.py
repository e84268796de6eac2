"""ROUGE of summaries: the mean F-measure over the rows. Needs the package rouge-score."""

import re
from importlib.util import find_spec

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.tasks.metrics.answered_rows import AnsweredRows


def rouge1(rows: AnsweredRows) -> float:
    """Return ROUGE-1: shared words. A word is of the letters a to z and digits alone.

    Raises:
      DataError: if no right answer has such a word, as in other scripts.

    Source: Lin 2004, ROUGE; google-research/google-research `rouge`, without stemming, as T5 uses it; the plain mean over
    rows replaces T5's median of bootstrap means, which is drawn at random.
    """
    return _mean_f_measure("rouge1", rows)


def rouge2(rows: AnsweredRows) -> float:
    """Return ROUGE-2: shared pairs of words, measured as ROUGE-1 is."""
    return _mean_f_measure("rouge2", rows)


def rouge_lsum(rows: AnsweredRows) -> float:
    """Return ROUGE-L over a summary's sentences, measured as ROUGE-1 is. A sentence ends with " . " or with its line."""
    return _mean_f_measure("rougeLsum", rows)


def check_rouge_is_installed(metric: str) -> None:
    """Raise a ConfigError if the package is missing."""
    if find_spec("rouge_score") is None:
        raise ConfigError(
            f"The metric `{metric}` needs the package rouge-score. Received: it is not installed. "
            "Install it: pip install rouge-score."
        )


def _mean_f_measure(kind: str, rows: AnsweredRows) -> float:
    check_rouge_is_installed(kind)
    from rouge_score.rouge_scorer import RougeScorer  # an optional package

    if not any(re.search("[a-z0-9]", answer.lower()) for answers in rows.references for answer in answers):
        raise DataError(
            f"ROUGE counts words of the letters a to z and digits alone. Received: {rows.targets[0][:80]!r}, and no right answer "
            "with such a word. Choose another metric, such as `token_f1`."
        )
    scorer = RougeScorer([kind])
    values = [
        scorer.score_multi([_in_lines(answer) for answer in answers], _in_lines(text))[kind].fmeasure
        for answers, text in zip(rows.references, rows.predictions, strict=True)
    ]
    return float(sum(values) / len(values))


def _in_lines(summary: str) -> str:
    return summary.replace(" . ", " .\n")
