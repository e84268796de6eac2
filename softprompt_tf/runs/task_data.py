"""Read the rows of a run's task: those to train on, those that choose the best step, and those for the last word."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.tasks import Example, Task, warn_of_lacking_rows, warn_of_shared_texts


@dataclass(frozen=True)
class TaskData:
    """A task with its rows.

    Args:
      task: the task.
      train: the rows to train on.
      validation: the dev split, whose scores choose the best step.
      test: rows that are scored once, at the end; none where the task has no test split.
    """

    task: Task
    train: list[Example]
    validation: list[Example]
    test: Sequence[Example] = ()


def read_task_data(task: Task) -> TaskData:
    """Read all splits of a task.

    Raises:
      ConfigError: if the task has no train or no dev split.
      DataError: if one of these two cannot be read.

    Warns:
      UserWarning: if the test split cannot be read, as public ones often have no labels: a run can do without. If rows that are
        scored have the texts of training rows, a label has no row in a split, or rows have no text.
    """
    if task.train is None or task.validation is None:
        missing = "train" if task.train is None else "validation"
        raise ConfigError(
            f"A run needs both train rows and dev rows. Received: task {task.name!r} without `{missing}`."
            f" Add `{missing}: FILE` to the task."
        )
    data = TaskData(task, task.examples("train"), task.examples("validation"), _test_examples(task))
    warn_of_lacking_rows(task, {"train": data.train, "dev": data.validation, "test": data.test})
    warn_of_shared_texts(task.name, data.train, {"dev": data.validation, "test": data.test})
    return data


def _test_examples(task: Task) -> Sequence[Example]:
    if task.test is None:
        return ()
    try:
        return task.examples("test")
    except (ConfigError, DataError) as error:
        warnings.warn(f"The run of task {task.name} will have no test score: {error}", stacklevel=3)
        return ()
