"""How far a new model answers as the old one did: numbers for one task, and a table for all."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from softprompt_tf.migration.answers import Answers
from softprompt_tf.shown_text import in_one_line, padded, shown_width

_SMALLEST = 1e-12  # probabilities below are counted as this, so that a divergence is finite
_COLUMNS = ("task", "lines", "held out", "at start", "agreement", "one answer", "KL")


@dataclass(frozen=True)
class TaskAgreement:
    """How well one task was moved.

    Args:
      task_id: its name.
      lines: how many were trained on.
      held_out: how many the agreement was measured on; the step was chosen on others.
      start: where the new prompt started from.
      at_start: agreement before any training.
      agreement: the share of the held-out lines with the old model's answer.
      one_answer: the same share for a model that always gives the commonest answer of the old one.
      answers: how many different answers the old model gave to the lines that were trained on.
      kl: the mean divergence of the new model's label probabilities from the old one's, in nats; None without labels.
      best_step: the step that was kept.
      prompt: the prompt file, relative to the output directory.
      error: why the task failed; then all else is empty.
    """

    task_id: str
    lines: int = 0
    held_out: int = 0
    start: str = ""
    at_start: float = 0.0
    agreement: float = 0.0
    one_answer: float = 0.0
    answers: int = 0
    kl: float | None = None
    best_step: int | None = None
    prompt: str = ""
    error: str = ""

    @property
    def note(self) -> str:
        """What the numbers alone do not say; "" for nothing."""
        if self.error:
            return f"failed: {self.error}"
        if self.answers == 1:
            return "the old model gives one answer to all lines: use other text"
        if self.agreement <= self.one_answer:
            return "no better than one answer for all"
        return ""


def share_of_same(old: Answers, new: Answers) -> float:
    """Return the share of lines with the same answer."""
    return float(np.mean([a == b for a, b in zip(old.texts, new.texts, strict=True)]))


def one_answer_share(training: Answers, held_out: Answers) -> float:
    """Return the share of the held-out answers that are the commonest one of the training lines."""
    commonest = Counter(training.texts).most_common(1)[0][0]
    return float(np.mean([text == commonest for text in held_out.texts]))


def mean_divergence(old: Answers, new: Answers) -> float | None:
    """Return the mean KL(old || new) over the lines' labels, in nats; None for tasks without labels."""
    if old.probabilities is None or new.probabilities is None:
        return None
    before, after = (np.maximum(each, _SMALLEST) for each in (old.probabilities, new.probabilities))  # [N, C]
    return float(np.mean(np.sum(before * (np.log(before) - np.log(after)), axis=1)))


def agreement_metrics(old: Answers, new: Answers) -> dict[str, float]:
    """Return what chooses the best step, higher is better: the agreement, and with labels the negative divergence."""
    divergence = mean_divergence(old, new)
    return {"agreement": share_of_same(old, new)} | ({} if divergence is None else {"minus_kl": -divergence})


def table_lines(tasks: Sequence[TaskAgreement]) -> list[str]:
    """Return a table with a line for each task, and notes below it."""
    rows = [_COLUMNS, *(_cells(task) for task in tasks if not task.error)]
    widths = [max(shown_width(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = [
        "  ".join(
            [padded(row[0], widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    return [
        *(lines if len(rows) > 1 else []),
        *(f"{in_one_line(task.task_id)}: {task.note}" for task in tasks if task.note),
    ]


def _cells(task: TaskAgreement) -> tuple[str, ...]:
    shares = (task.at_start, task.agreement, task.one_answer)
    divergence = "-" if task.kl is None else f"{task.kl:.3f}"
    return (
        in_one_line(task.task_id),
        str(task.lines),
        str(task.held_out),
        *(f"{share:.3f}" for share in shares),
        divergence,
    )
