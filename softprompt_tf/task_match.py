"""Name what differs between the task that a prompt was trained for and the one that it is asked to do."""

import warnings

from softprompt_tf.prompts import TaskPrompt
from softprompt_tf.tasks import Task


def task_differences(prompt: TaskPrompt, task: Task) -> list[str]:
    """Return a text for each difference; what a prompt file does not say is not compared."""
    pairs = {
        "task id": (prompt.task_id, task.name),
        "labels": (list(prompt.labels), list(task.label_words)),
        "template": (prompt.template, task.inputs),
    }
    differences = [f"{name} {own!r}, not {asked!r}" for name, (own, asked) in pairs.items() if own and own != asked]
    if prompt.template and prompt.target_format != task.target_format:
        differences.append(f"target format {prompt.target_format!r}, not {task.target_format!r}")
    return differences


def warn_of_another_task(prompt: TaskPrompt, task: Task, *, name: str = "The prompt") -> None:
    """Say that a prompt was trained for another task.

    Warns:
      UserWarning: names each difference.
    """
    differences = task_differences(prompt, task)
    if differences:
        warnings.warn(
            f"{name} was trained for another task than {task.name!r}: {'; '.join(differences)}. The answers are those of the "
            "prompt's own training, asked in the words of this task.",
            stacklevel=2,
        )
