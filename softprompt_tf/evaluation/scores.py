"""Score answers against a task's rows: metrics, and one prediction for each row. No model is asked here."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from softprompt_tf.errors import DataError
from softprompt_tf.evaluation.asking import TaskAnswers
from softprompt_tf.files.atomic_file import write_atomically
from softprompt_tf.files.json_lines import json_line
from softprompt_tf.files.portable_names import own_name
from softprompt_tf.inference.answers import Classification, Generation
from softprompt_tf.shown_numbers import counted
from softprompt_tf.tasks import Example, Task, compute_metrics, postprocessed


@dataclass(frozen=True)
class Prediction:
    """What the model made of one row.

    Args:
      inputs: the text that it read.
      target: the right answer.
      output: its answer.
      score: the answer's log-probability in nats: among the labels for a task with labels, else of the generated text.
      location: where the row is, such as "dev.tsv:17".
      label_log_probabilities: of each label, for a task with labels.
      references: all answers that the metrics take for right, for a task that names them.
      answer: what the metrics compare, for a task with postprocessors; else it is `output`.
    """

    inputs: str
    target: str
    output: str
    score: float
    location: str
    label_log_probabilities: dict[str, float] | None = None
    references: tuple[str, ...] | None = None
    answer: str | None = None


@dataclass(frozen=True)
class TaskScores:
    """The metrics of a split, in [0, 1] unless the metric says otherwise, and its predictions."""

    metrics: dict[str, float]
    predictions: tuple[Prediction, ...]


def check_rows(task: Task, examples: Sequence[Example]) -> None:
    """Refuse to evaluate nothing.

    Raises:
      DataError: if there is no example.
    """
    if not examples:
        raise DataError(f"An evaluation needs at least one row. Received: none, for task {task.name!r}.")


def score_answers(task: Task, examples: Sequence[Example], answers: TaskAnswers) -> TaskScores:
    """Compare answers with the right ones and compute the task's metrics.

    Args:
      task: whose metrics and postprocessors are used.
      examples: rendered rows, in any order.
      answers: one for each row: of `ask`, of a model server's client, or made otherwise.

    Raises:
      DataError: if there is no example, or not one answer for each.

    Examples:
      >>> from softprompt_tf.evaluation import ask, score_answers
      >>> from softprompt_tf.tasks import load_task
      >>> task = load_task("film.yaml")
      >>> rows = task.examples("validation")
      >>> answers = ask(model, task, [row.inputs for row in rows])
      >>> list(score_answers(task, rows, answers).metrics)
      ['accuracy']
    """
    check_rows(task, examples)
    if len(answers) != len(examples):
        raise DataError(
            f"There must be one answer for each row. Received: {counted(len(answers), 'answer')}, "
            f"{counted(len(examples), 'row')} of task {task.name!r}."
        )
    predictions = tuple(_prediction(task, *pair) for pair in zip(examples, answers, strict=True))
    answered = [p.output if p.answer is None else p.answer for p in predictions]
    return TaskScores(metrics=_metrics(task, examples, answered), predictions=predictions)


def majority_baseline(task: Task, train: Sequence[Example], examples: Sequence[Example]) -> dict[str, float]:
    """Return the metrics of always answering with the commonest target of the training split."""
    commonest = Counter(example.target for example in train).most_common(1)[0][0]
    answers = [postprocessed(commonest, example.row, task.postprocess) for example in examples]
    return _metrics(task, examples, answers)


def write_predictions(path: str | Path, predictions: Sequence[Prediction]) -> None:
    """Write one JSON object per line and prediction, completely or not at all; files by their own names."""
    rows = [{**asdict(prediction), "location": own_name(prediction.location)} for prediction in predictions]
    lines = [json_line(row) for row in rows]
    write_atomically(Path(path), "".join(f"{line}\n" for line in lines).encode("utf-8"), error_type=DataError)


def _metrics(task: Task, examples: Sequence[Example], answers: Sequence[str]) -> dict[str, float]:
    """Score answers that are postprocessed already."""
    return compute_metrics(
        task.metrics,
        [example.right_answers for example in examples],
        answers,
        task.label_words,
        groups=[example.group for example in examples] if task.group_by else (),
    )


def _prediction(task: Task, example: Example, answer: Classification | Generation) -> Prediction:
    if isinstance(answer, Generation):
        return _told(task, example, answer.text, answer.score, None)
    logs = dict(zip(answer.labels, answer.log_probabilities, strict=True))
    return _told(task, example, answer.label, logs[answer.label], logs)


def _told(task: Task, example: Example, output: str, score: float, logs: dict[str, float] | None) -> Prediction:
    return Prediction(
        inputs=example.inputs,
        target=example.target,
        output=output,
        score=score,
        location=example.row.location,
        label_log_probabilities=logs,
        references=example.references or None,
        answer=postprocessed(output, example.row, task.postprocess) if task.postprocess else None,
    )
