"""Make what one config file says independent of its directory: task files are read, names of files become absolute."""

from functools import partial
from pathlib import Path
from typing import Any

from softprompt_tf.methods.initializers import BUNDLED
from softprompt_tf.settings.config_files import read_tree, resolve_source
from softprompt_tf.settings.task_section import SPLITS
from softprompt_tf.settings.yaml_tree import KeyPath, Tree


def localise_run(tree: Tree, directory: Path) -> None:
    task = tree.values.get("task")
    if isinstance(task, tuple):
        tree.values["task"] = tuple(
            _task_values(tree, item, directory, ("task", str(number))) for number, item in enumerate(task)
        )
    elif task is not None:
        tree.values["task"] = _task_values(tree, task, directory, ("task",))
    prompt = tree.values.get("prompt")
    init = prompt.get("init") if isinstance(prompt, dict) else None
    kind, _, path = init.partition(":") if isinstance(init, str) else ("", "", "")
    is_name = path == BUNDLED and kind != "file" and not (directory / path).exists()
    if kind in ("file", "source", "best_source") and path and not is_name:
        place = tree.place(("prompt", "init"))
        name = resolve_source(path, directory=directory, key="prompt.init", place=place)
        prompt["init"] = f"{kind}:{(directory / name).absolute()}"  # type: ignore[index]
    _localise_teachers(tree, directory)
    sources = prompt.get("sources") if isinstance(prompt, dict) else None
    if isinstance(sources, list | tuple):
        place = tree.place(("prompt", "sources"))
        local = (_local_file(each, directory=directory, key="prompt.sources", place=place) for each in sources)
        prompt["sources"] = tuple(local)  # type: ignore[index]
    language = prompt.get("language") if isinstance(prompt, dict) else None
    if isinstance(language, str) and language:
        place = tree.place(("prompt", "language"))
        name = resolve_source(language, directory=directory, key="prompt.language", place=place)
        prompt["language"] = str((directory / name).absolute())  # type: ignore[index]


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
    return read_tree(path, localise=localise_task)


def localise_task(tree: Tree, directory: Path) -> None:
    _resolve_sources(tree, tree.values, directory, ())


def _resolve_sources(tree: Tree, task: dict[str, Any], directory: Path, path: KeyPath) -> None:
    for split in SPLITS:
        if isinstance(task.get(split), str):
            here = (*path, split)
            task[split] = resolve_source(task[split], directory=directory, key=".".join(here), place=tree.place(here))
