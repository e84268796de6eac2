"""The tasks of an experiment and as many of their rows as it uses."""

import importlib.resources
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from softprompt_tf.config import SPLITS, TaskConfig, load_task_config
from softprompt_tf.errors import ConfigError
from softprompt_tf.experiments.settings import Rows, RunSettings
from softprompt_tf.settings.spelling import nearest
from softprompt_tf.tasks import Example, Task, load_task, warn_of_shared_texts
from softprompt_tf.tasks import sample as drawn

if TYPE_CHECKING:
    from softprompt_tf.runs.run import TaskData

_DRAW_SEED = 0  # of which rows are used: the same for all runs, whatever their seed


def find_task(name: str, settings: RunSettings) -> TaskConfig:
    """Return a task as an experiment uses it: with its target format, and its limit on the input's length.

    Args:
      name: of a file in the library's configs/tasks, or the path of a task file.
      settings: the run's.

    Raises:
      ConfigError: if there is no such task, or an environment variable that it names is not set.
    """
    folder = importlib.resources.files("softprompt_tf.configs") / "tasks"
    path = Path(name) if name.endswith((".yaml", ".yml")) else Path(str(folder / f"{name}.yaml"))
    if not path.is_file():
        known = sorted(file.stem for file in Path(str(folder)).glob("*.yaml"))
        raise ConfigError(f"No such task. Received: {name!r}.{nearest(name, known)}")
    task = load_task_config(path)
    changes: dict[str, object] = {}
    if settings.max_input_tokens is not None:
        changes["max_input_tokens"] = min(task.max_input_tokens, settings.max_input_tokens)
    if settings.target_format is not None:
        changes["target_format"] = settings.target_format
    return task.model_copy(update=changes)


def check_rows(task: TaskConfig, splits: Sequence[str]) -> None:
    """Read one row of each split that is a file.

    Raises:
      ConfigError, DataError: if a split is missing or cannot be read; names the file.
    """
    loaded = load_task(task)
    for split in splits:
        source = getattr(loaded, split)
        if source is None or Path(str(source)).is_absolute():
            loaded.rows(split, limit=1)


def scored_split(task: TaskConfig) -> str:
    """Return the split that a task is scored on: validation, or test where that is all there is."""
    return "validation" if task.validation is not None else "test"


def training_data(task: TaskConfig, rows: Rows) -> "TaskData":
    """Return a task with the train and dev rows that an experiment uses.

    Warns:
      UserWarning: if rows that are scored have the texts of train rows.
    """
    from softprompt_tf.runs.run import TaskData  # loads TensorFlow, without which a plan is made

    data = TaskData(load_task(task), list(_examples(task, "train", rows.train)), list(scored_examples(task, rows)))
    scored = "test" if task.validation is None else "dev"
    warn_of_shared_texts(task.name, data.train, {scored: data.validation})
    return data


def scored_examples(task: TaskConfig, rows: Rows) -> tuple[Example, ...]:
    """Return the rows that a task is scored on."""
    return _examples(task, scored_split(task), rows.validation)


def sample(examples: Sequence[Example], limit: int | None) -> list[Example]:
    """Draw rows until there are `limit` or more, in their own order; a group's rows are drawn together."""
    return list(examples) if limit is None else drawn(examples, limit, seed=_DRAW_SEED)


def task_identity(task: TaskConfig) -> dict[str, object]:
    """Return what tells a task from others, as JSON values; of its files only the names and their folders', as where data lie
    on a machine changes no result."""
    values = task.model_dump(mode="json")
    for split in SPLITS:
        if values[split] is not None:
            values[split] = "/".join(Path(values[split]).parts[-2:])
    return values


def _examples(task: TaskConfig, split: str, limit: int | None) -> tuple[Example, ...]:
    return _read(task.model_dump_json(), split, limit)


@lru_cache(maxsize=16)
def _read(task: str, split: str, limit: int | None) -> tuple[Example, ...]:
    # By the task's text, since a config that holds a mapping has no hash.
    loaded: Task = load_task(TaskConfig.model_validate_json(task))
    return tuple(sample(loaded.examples(split), limit))
