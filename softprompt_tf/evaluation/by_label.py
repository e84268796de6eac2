"""Where a task with labels is wrong: recall, precision and F1 of each label, and what it was taken for."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from softprompt_tf.errors import ConfigError
from softprompt_tf.evaluation.scores import Prediction
from softprompt_tf.shown_text import in_one_line, padded, shown_width
from softprompt_tf.tasks import Task


@dataclass(frozen=True)
class LabelScore:
    """How well the rows of one label were answered.

    Args:
      label: its word.
      rows: rows whose right answer it is.
      answered: rows that were answered with it, rightly or not.
      right: rows of which both is true.
      taken_for: answers that these rows got instead -> how many rows, the most frequent first: a row of the confusion
        matrix without its diagonal.
    """

    label: str
    rows: int
    answered: int
    right: int
    taken_for: Mapping[str, int]

    @property
    def recall(self) -> float | None:
        """The share of the label's rows that were answered with it; None without such rows."""
        return self.right / self.rows if self.rows else None

    @property
    def precision(self) -> float | None:
        """The share of the answers with the label that are right; None without such answers."""
        return self.right / self.answered if self.answered else None

    @property
    def f1(self) -> float | None:
        """The harmonic mean of recall and precision; None without rows and answers."""
        return 2 * self.right / (self.rows + self.answered) if self.rows + self.answered else None


def label_scores(task: Task, predictions: Sequence[Prediction]) -> tuple[LabelScore, ...]:
    """Count right and wrong answers by label, in label order.

    Args:
      task: with `labels`.
      predictions: of `evaluate_examples` or `score_answers`.

    Raises:
      ConfigError: if the task has no labels.

    Examples:
      >>> from softprompt_tf.evaluation import evaluate_examples, label_scores
      >>> from softprompt_tf.tasks import load_task
      >>> task = load_task("film.yaml")
      >>> scores = evaluate_examples(model, task, task.examples("validation"))
      >>> taken_for = {each.label: each.taken_for for each in label_scores(task, scores.predictions)}
    """
    if not task.label_words:
        raise ConfigError(f"Scores by label need a task with `labels`. Received: task {task.name}, which has none.")
    pairs = Counter(
        (prediction.target, prediction.output if prediction.answer is None else prediction.answer)
        for prediction in predictions
    )
    return tuple(_of_label(word, pairs) for word in task.label_words)


def label_table(scores: Sequence[LabelScore]) -> list[str]:
    """Return lines with the scores of each label; "-" where there is none."""
    head = ("label", "rows", "recall", "precision", "f1")
    cells = [
        head,
        *((in_one_line(s.label), str(s.rows), _told(s.recall), _told(s.precision), _told(s.f1)) for s in scores),
    ]
    widths = [max(map(shown_width, column)) for column in zip(*cells, strict=True)]
    mistakes = [
        "taken for",
        *(", ".join(f"{in_one_line(word)} {count}" for word, count in s.taken_for.items()) for s in scores),
    ]
    return [
        "  ".join([padded(row[0], widths[0]), *map(str.rjust, row[1:], widths[1:]), wrong]).rstrip()
        for row, wrong in zip(cells, mistakes, strict=True)
    ]


def _of_label(word: str, pairs: Counter[tuple[str, str]]) -> LabelScore:
    wrong = [(answer, count) for (target, answer), count in pairs.items() if target == word != answer]
    return LabelScore(
        label=word,
        rows=sum(count for (target, _), count in pairs.items() if target == word),
        answered=sum(count for (_, answer), count in pairs.items() if answer == word),
        right=pairs[word, word],
        taken_for=dict(sorted(wrong, key=lambda each: (-each[1], each[0]))),
    )


def _told(share: float | None) -> str:
    return "-" if share is None else f"{share:.4f}"
