"""Make what one config file says independent of its directory: task files are read, names of files become absolute."""

from functools import partial
from pathlib import Path
from typing import Any

from softprompt_tf.methods.initializers import BUNDLED
from softprompt_tf.settings.config_files import expanded, read_tree, resolve_source
from softprompt_tf.settings.task_section import SPLITS
from softprompt_tf.settings.yaml_tree import KeyPath, Tree


def localise_run(tree: Tree, directory: Path) -> None:
    """Read the task files that a run's config names, and make its other files absolute, in place."""
    task = tree.values.get("task")
    if isinstance(task, tuple):
        tree.values["task"] = tuple(
            _task_values(tree, item, directory, ("task", str(number))) for number, item in enumerate(task)
        )
    elif task is not None:
        tree.values["task"] = _task_values(tree, task, directory, ("task",))
    _localise_prompt(tree, directory)
    _localise_teachers(tree, directory)
    for path in (("backbone",), ("output_dir",), ("training", "states_directory")):
        _expand(tree, path)


def _expand(tree: Tree, path: KeyPath) -> None:
    """Put in what `~` and `${NAME}` stand for, in place; such a path stays relative to the working directory."""
    *above, key = path
    section: Any = tree.values
    for name in above:
        section = section.get(name)
        if not isinstance(section, dict):
            return
    if isinstance(section.get(key), str):
        section[key] = expanded(section[key], key=".".join(path), place=tree.place(path))


def _localise_prompt(tree: Tree, directory: Path) -> None:
    prompt = tree.values.get("prompt")
    if not isinstance(prompt, dict):
        return

    def local(path: Any, key: str) -> Any:
        return _local_file(path, directory=directory, key=f"prompt.{key}", place=tree.place(("prompt", key)))

    init, sources = prompt.get("init"), prompt.get("sources")
    kind, _, path = init.partition(":") if isinstance(init, str) else ("", "", "")
    is_name = path == BUNDLED and kind != "file" and not (directory / path).exists()
    if kind in ("file", "source", "best_source") and path and not is_name:
        prompt["init"] = f"{kind}:{local(path, 'init')}"
    if isinstance(sources, list | tuple):
        prompt["sources"] = tuple(local(each, "sources") for each in sources)
    if "language" in prompt:
        prompt["language"] = local(prompt["language"], "language")


def _localise_teachers(tree: Tree, directory: Path) -> None:
    training = tree.values.get("training")
    teachers = training.get("distill_from") if isinstance(training, dict) else None
    if not isinstance(training, dict) or teachers is None:
        return
    key = "training.distill_from"
    local = partial(_local_file, directory=directory, key=key, place=tree.place(("training", "distill_from")))
    if isinstance(teachers, dict):
        training["distill_from"] = {task: local(path) for task, path in teachers.items()}
    else:
        training["distill_from"] = local(teachers)


def _local_file(path: Any, *, directory: Path, key: str, place: str) -> Any:
    """Return the path of a file that a config names, absolute; what is no path comes back as it is."""
    if not isinstance(path, str) or not path:
        return path
    return str((directory / resolve_source(path, directory=directory, key=key, place=place)).absolute())


def _task_values(tree: Tree, task: Any, directory: Path, path: KeyPath) -> Any:
    if isinstance(task, str):
        read = read_task(directory / task)
        tree.places.update({(*path, *below): place for below, place in read.places.items()})
        tree.whole.add(path)
        return read.values
    if isinstance(task, dict):
        _resolve_sources(tree, task, directory, path)
    return task


def read_task(path: Path) -> Tree:
    """Return what a task file says."""
    return read_tree(path, localise=localise_task)


def localise_task(tree: Tree, directory: Path) -> None:
    """Make the sources of a task absolute, in place."""
    _resolve_sources(tree, tree.values, directory, ())


def _resolve_sources(tree: Tree, task: dict[str, Any], directory: Path, path: KeyPath) -> None:
    for split in SPLITS:
        if isinstance(task.get(split), str):
            here = (*path, split)
            task[split] = resolve_source(task[split], directory=directory, key=".".join(here), place=tree.place(here))
