"""Ask a model about the rows of a task and score its answers."""

from collections.abc import Sequence

from softprompt_tf.evaluation.asking import AnswersTexts, ask
from softprompt_tf.evaluation.scores import TaskScores, check_rows, score_answers
from softprompt_tf.model.task_match import warn_of_other_tasks
from softprompt_tf.tasks import Example, Task


def evaluate_examples(
    model: AnswersTexts, task: Task, examples: Sequence[Example], *, task_id: str | None = None
) -> TaskScores:
    """Answer every example and compute the task's metrics.

    Args:
      model: what answers.
      task: whose labels and metrics are used.
      examples: rendered rows, in any order.
      task_id: the task's name in a model of several prompts, else None.

    Raises:
      DataError: if there is no example.

    Warns:
      UserWarning: if a prompt was trained for another task: its task id, labels, template or target format differ.

    Examples:
      >>> from softprompt_tf.evaluation import evaluate_examples
      >>> from softprompt_tf.tasks import load_task
      >>> task = load_task("film.yaml")
      >>> scores = evaluate_examples(model, task, task.examples("validation"))
      >>> list(scores.metrics)
      ['accuracy']
    """
    check_rows(task, examples)
    warn_of_other_tasks(model, task, task_id=task_id)
    answers = ask(model, task, [example.inputs for example in examples], task_id=task_id)
    return score_answers(task, examples, answers)
