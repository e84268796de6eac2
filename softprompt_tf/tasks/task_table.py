"""Load tasks from task files, and list the tasks of a directory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from softprompt_tf.config import TaskConfig, load_task_config, task_config
from softprompt_tf.errors import ConfigError
from softprompt_tf.settings.yaml_tree import read_yaml
from softprompt_tf.tasks.task import Task
from softprompt_tf.tasks.template import without_first_word


def load_task(source: str | Path | Mapping[str, Any] | TaskConfig) -> Task:
    """Make a task.

    Args:
      source: a YAML file, whose sources are relative to its own directory; or a mapping with the same keys, relative to
        the working directory; or the checked task of a run's config. With `taskless`, the task's `inputs` are the config's
        without their first word.

    Raises:
      ConfigError: names the file, the line where it is known, and the key.

    Examples:
      >>> from softprompt_tf.tasks import load_task
      >>> task = load_task("film.yaml")
      >>> task.label_words
      ('negative', 'positive')
      >>> len(task.examples("train"))
      2
    """
    if isinstance(source, str | Path):
        config, place = load_task_config(source), str(source)
    elif isinstance(source, TaskConfig):
        config, place = source, f"task {source.name}"
    else:
        config, place = task_config(source), "the task's mapping"
    try:
        return Task(**_task_fields(config))
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None


def _task_fields(config: TaskConfig) -> dict[str, Any]:
    fields = dict(config)
    if fields.pop("taskless"):
        fields["inputs"] = without_first_word(config.inputs)
    return fields


def task_table(directory: str | Path) -> dict[str, Path]:
    """List the task files of a directory.

    Returns:
      The task's name -> its file, sorted by name. Sources are not looked at, so environment variables need not be set.

    Raises:
      ConfigError: if the directory is missing, a file has no name, or two files have the same.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise ConfigError(f"No such directory of task files: {directory}.")
    table: dict[str, Path] = {}
    for path in sorted((*directory.glob("*.yaml"), *directory.glob("*.yml"))):
        name = read_yaml(path).values.get("name")
        if not isinstance(name, str):
            raise ConfigError(f"Missing key `name` in {path}. It must be text. Received: {name!r}.")
        if name in table:
            raise ConfigError(
                f"Two task files must not have the same name. Received: `{name}` in {table[name]} and {path}."
            )
        table[name] = path
    return dict(sorted(table.items()))
