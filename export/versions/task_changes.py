"""Tasks of a written export: added, removed and listed without its backbone being loaded, traced or stored again.

A base directory and prompts enter; the next version leaves, which shares the backbone's file, the graph and the prompts that were
there with the version before, as hard links, and writes what the change brought.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from softprompt_tf.errors import ExportError
from softprompt_tf.export.graph.served_backbone import ExportRecord
from softprompt_tf.export.graph.served_prompts import ServedPrompt, load_served_prompts
from softprompt_tf.export.graph.served_tasks import ServedTask, ServedTasks, serve_tasks
from softprompt_tf.export.versions.changed_version import NewestVersion, TaskChange, newest_version, write_changed
from softprompt_tf.export.versions.task_shards import StoredTasks, append_tasks, write_tasks
from softprompt_tf.files.local_paths import local_source
from softprompt_tf.methods import TaskPrompt
from softprompt_tf.settings.spelling import look_alike

if TYPE_CHECKING:
    from softprompt_tf.backbones import FrozenT5

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class ListedTask:
    """A task of an export: its name, P, its label words, the bytes of its tensors, how many members vote, and its method."""

    task_id: str
    prompt_length: int
    labels: tuple[str, ...]
    num_bytes: int
    num_members: int = 1
    method: str = "prompt_tuning"


def add_tasks(
    directory: str | Path,
    prompts: Mapping[str, ServedPrompt],
    *,
    version: int | None = None,
    replace: bool = False,
    verify: bool = True,
    t5: "FrozenT5 | None" = None,
) -> Path:
    """Write the next version of an export with tasks added.

    Made from the newest version. What an addition writes is its prompts, and the names, labels and limits of all tasks. A
    version that another process writes meanwhile is taken as the one to add to, so that nothing is lost.

    Args:
      directory: the model's base directory.
      prompts: task id -> prompt file (`.safetensors`, `.npy`, a PEFT folder), loaded prompt, `PromptedT5` or array [P, H];
        or a list of several prompts of one task, which vote.
      version: the version's number, above all that are there. Default: one more than the highest.
      replace: replace tasks of the same names. All prompts are then written again.
      verify: run both versions through TensorFlow's C API in another process: tasks that were there must answer bit for bit
        as before, the added ones without a status.
      t5: the backbone, loaded; where it is given, `verify` compares the added tasks with Keras as well.

    Returns:
      The version directory, DIRECTORY/VERSION.

    Raises:
      ExportError: if there is no export that this library can add to, a task is there already, it answers at greater length
        than the graph of an earlier version of this library can, or the version is not above all others or cannot be written.
      BackboneMismatchError: if a prompt was made for another backbone.
      PromptFileError: if a prompt cannot be read.
      VerificationError: if the new version does not answer as it should.

    Examples:
      >>> from softprompt_tf.export import add_tasks
      >>> added = add_tasks("exports/t5", {"book": "book.safetensors"})
      >>> added.name
      '2'
    """
    loaded = load_served_prompts(prompts)

    def change(export: NewestVersion) -> TaskChange:
        if t5 is not None:
            from softprompt_tf.export.versions.keras_comparison import check_comparable

            check_comparable(t5, export.record)
        return _addition(export, loaded, prompts, replace=replace)

    def verify_with_keras(staging: Path, record: ExportRecord) -> None:
        if t5 is not None:
            from softprompt_tf.export.versions.keras_comparison import compare_added_tasks

            compare_added_tasks(staging, t5, loaded, record=record)

    return write_changed(Path(directory), change, version=version, verify=verify, then=verify_with_keras)


def remove_tasks(
    directory: str | Path, task_ids: Sequence[str], *, version: int | None = None, verify: bool = True
) -> Path:
    """Write the next version of an export with tasks removed; the prompts of the others are written again.

    Args:
      directory: the model's base directory.
      task_ids: names of tasks of its newest version.
      version: the version's number, above all that are there. Default: one more than the highest.
      verify: as in `add_tasks`.

    Returns:
      The version directory, DIRECTORY/VERSION.

    Raises:
      ExportError: if there is no such export or task, or none would be left, or the version is not above all others or cannot be
        written.
      VerificationError: if the new version does not answer as it should.

    Examples:
      >>> from softprompt_tf.export import list_tasks, remove_tasks
      >>> version = remove_tasks("exports/t5", ["book"])
      >>> [task.task_id for task in list_tasks("exports/t5")]
      ['film']
    """
    asked = [task_ids] if isinstance(task_ids, str) else list(task_ids)

    def change(export: NewestVersion) -> TaskChange:
        unknown = [task for task in asked if task not in export.names]
        if unknown or not asked or isinstance(task_ids, str):
            raise ExportError(
                f"Only tasks that are there can be removed. Received: {unknown or task_ids!r}. "
                f"{export.tasks.directory} holds: {_brief(export.names)}.{look_alike(unknown[0], export.names) if unknown else ''}"
            )
        rows = tuple(task for task in export.tasks.rows if task.task_id not in asked)
        if not rows:
            raise ExportError(
                f"An export keeps at least one task. Received: {asked}, all that {export.tasks.directory} holds."
            )
        tasks = _with_tensors(rows, export, None)
        return TaskChange(tasks.task_ids, (), _rewrite(export, tasks))

    return write_changed(Path(directory), change, version=version, verify=verify)


def list_tasks(directory: str | Path) -> tuple[ListedTask, ...]:
    """Return the tasks of an export's newest version, in the order of its tables.

    Args:
      directory: the model's base directory; or a version's own, such as exports/t5/1, for the tasks of that one.

    Raises:
      ExportError: if there is no export that this library can list.

    Examples:
      >>> from softprompt_tf.export import list_tasks
      >>> [(task.task_id, task.prompt_length) for task in list_tasks("exports/t5")]
      [('film', 5)]
    """
    directory = local_source(directory, error_type=ExportError)
    if (directory / "saved_model.pb").is_file():
        record, tasks = ExportRecord.read(directory), StoredTasks.read(directory)
    else:
        export = newest_version(directory)
        record, tasks = export.record, export.tasks
    each = _BYTES[record.table_dtype]
    return tuple(
        ListedTask(
            task.task_id,
            task.prompt_length,
            task.labels,
            sum(task.num_rows(name) * width * each for name, width in tasks.tables.items()),
            task.num_members,
            task.method,
        )
        for task in tasks.rows
    )


def _addition(
    export: NewestVersion, loaded: Mapping[str, tuple[TaskPrompt, ...]], sources: Mapping[str, object], *, replace: bool
) -> TaskChange:
    _check_tables(export, loaded)
    new = serve_tasks(export.record.served_backbone(export.tasks.directory), loaded)
    _check_answers_fit(export, new)
    known = set(export.names)
    there = [task for task in new.task_ids if task in known]
    if there and not replace:
        named = sources[there[0]] if isinstance(sources[there[0]], str | Path) else "the one given"
        raise ExportError(
            f"A task is replaced only where that is asked for. Received: task {there[0]!r}, prompt {named}; "
            f"{export.tasks.directory} holds a task of that name. Choose another name, or pass `replace` (--replace)."
        )
    kept = tuple(task for task in export.names if task not in there)
    if not there and export.tasks.can_be_continued:
        return TaskChange(kept, new.rows, lambda staging: append_tasks(staging, export.tasks, new, **_dtype(export)))
    rows = {task.task_id: task for task in (*export.tasks.rows, *new.rows)}
    return TaskChange(kept, new.rows, _rewrite(export, _with_tensors(tuple(rows.values()), export, new)))


def _with_tensors(rows: tuple[ServedTask, ...], export: NewestVersion, new: ServedTasks | None) -> ServedTasks:
    """Return these tasks with their tensors: those of `new`, where they are there, else those of the export."""
    tables = {}
    for name, width in export.tasks.tables.items():
        known = export.tasks.of_tasks(name) | (new.of_tasks(name) if new else {})
        own = [known[task.task_id] for task in rows if task.num_rows(name)]
        tables[name] = np.concatenate([np.zeros((0, width), np.float32), *own])
    return ServedTasks(rows, tables)


def _rewrite(export: NewestVersion, tasks: ServedTasks) -> Callable[[Path], None]:
    return lambda staging: write_tasks(staging, export.tasks.directory, tasks, **_dtype(export))


def _dtype(export: NewestVersion) -> dict[str, str]:
    return {"table_dtype": export.record.table_dtype}


def _check_tables(export: NewestVersion, loaded: Mapping[str, tuple[TaskPrompt, ...]]) -> None:
    for task, members in loaded.items():
        missing = [name for name in members[0].tensors if name not in export.tasks.tables]
        if missing:
            raise ExportError(
                f"The graph of {export.tasks.directory} has tables of {', '.join(export.tasks.tables)} alone. "
                f"Received: task {task!r} of the method {members[0].method}, with {', '.join(missing)}. "
                "Write the export again with this task: `softprompt export --prompt`, in Python `write_saved_model`."
            )


def _check_answers_fit(export: NewestVersion, new: ServedTasks) -> None:
    for task in new.rows:
        if task.num_members > 1 and not export.tasks.has_ensembles:
            raise ExportError(
                f"The graph of {export.tasks.directory} is from before there were ensembles. Received: task {task.task_id!r} "
                f"with {task.num_members} prompts. Write the export again (`softprompt export --prompt`), or add one prompt."
            )
        longest = export.record.max_answer_tokens
        if longest is not None and task.max_target_tokens > longest:
            raise ExportError(
                f"The graph of {export.tasks.directory} decodes at most {longest} tokens. Received: "
                f"task {task.task_id!r} with {task.max_target_tokens}. Write the export again (`softprompt export --prompt`)."
            )


def _brief(names: Sequence[str]) -> str:
    text = ", ".join(names)
    return text if len(text) <= 1000 else text[:997] + "..."
