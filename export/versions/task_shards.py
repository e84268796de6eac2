"""Write and read the tables of tasks in a version's `variables/`.

    variables.data-00000  the backbone; written once, then the same file in every version
    variables.data-00001  everything that is small: names, templates, labels, limits
    variables.data-00002  prompts, some rows of the table [1 + R, H], and of the tables of other tensors where the graph has
                          such; each added batch of tasks writes its own file
    ...
    variables.index       which tensor, or which rows of the prompts, is where

A version takes over the files that it has in common with another one as hard links, and writes the rest.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import tensor_bundle_pb2

from softprompt_tf.errors import ExportError
from softprompt_tf.export.graph.served_tasks import ServedTask, ServedTasks, rows_of_tasks
from softprompt_tf.export.graph.stored_rows import restored_prompts, stored_prompts
from softprompt_tf.export.graph.task_columns import MEMBERS, columns_of, task_columns, tasks_of
from softprompt_tf.export.versions.checkpoint_index import read_index, write_index
from softprompt_tf.export.versions.table_entries import (
    TABLE_KEYS,
    GraphTables,
    column_key,
    is_column,
    is_empty_table,
    is_of_table,
)
from softprompt_tf.methods.task_tensors import PROMPT

UNREADABLE = (tf.errors.OpError, ValueError, IndexError)  # of a checkpoint; the last of a data file that was cut
MAX_PROMPT_FILES = 64  # then all prompts are written into one again
_PREFIX = Path("variables") / "variables"
_COLUMNS_FILE = 1
_FIRST_PROMPT_FILE = 2
_PART_BYTES = 1 << 22  # a loader keeps the memory of the largest part, beside that of the whole table


@dataclass(frozen=True)
class StoredTasks:
    """The tasks of a written version, their tensors left on the disk.

    Args:
      directory: the version.
      rows: its tasks.
      has_ensembles: whether its graph lets several prompts of a task vote; graphs from before there were ensembles do not.
      tables: name of each tensor that its graph has a table of -> W, the values of a row.
    """

    directory: Path
    rows: tuple[ServedTask, ...]
    has_ensembles: bool
    tables: Mapping[str, int]

    @classmethod
    def read(cls, directory: Path) -> "StoredTasks":
        """Read the tasks of a version directory.

        Raises:
          ExportError: if its variables cannot be read.
        """
        try:
            reader = tf.train.load_checkpoint(str(directory / _PREFIX))
            has_ensembles = reader.has_tensor(column_key(MEMBERS))
            shapes = reader.get_variable_to_shape_map()
            tables = {name: shapes[key.decode()][1] for name, key in TABLE_KEYS.items() if key.decode() in shapes}
            names = [name for name in columns_of(list(tables)) if name != MEMBERS or has_ensembles]
            columns = {name: reader.get_tensor(column_key(name)) for name in names}
        except UNREADABLE as error:
            raise ExportError(f"The tasks of an export must be readable. Received: {directory}: {error}.") from error
        return cls(directory, tasks_of(columns), has_ensembles, tables)

    @property
    def can_be_continued(self) -> bool:
        """Whether one more file of prompts may stand beside those that there are."""
        return len(_data_files(self.directory)) - _FIRST_PROMPT_FILE < MAX_PROMPT_FILES

    def prompts(self) -> list[np.ndarray]:
        """Read the prompts of the tasks that have one, each float32 [N * P, H], N being the task's members."""
        return list(self.of_tasks(PROMPT).values())

    def of_tasks(self, name: str) -> dict[str, np.ndarray]:
        """Read task id -> its rows float32 [N * P, W] of tensor `name`, for the tasks that have one."""
        try:
            table = tf.train.load_checkpoint(str(self.directory / _PREFIX)).get_tensor(TABLE_KEYS[name].decode())
        except UNREADABLE as error:
            raise ExportError(f"The prompts of {self.directory} must be readable. Received: {error}.") from error
        return rows_of_tasks(self.rows, name, restored_prompts(table[1:]))


def write_tasks(directory: Path, source: Path, tasks: ServedTasks, *, table_dtype: str) -> None:
    """Write variables for these tasks alone.

    Args:
      directory: the version that is written.
      source: the version whose backbone is taken over. May be `directory`, as `tf.saved_model.save` has left it.
      tasks: K tasks.
      table_dtype: how prompts are stored.
    """
    entries = _entries(source)
    kept = {key: value for key, value in entries.items() if not is_column(key) and not is_of_table(key)}
    files = _data_files(source)[:1]
    _write(
        directory,
        kept,
        files,
        tasks.rows,
        tasks.tensors,
        graph=GraphTables.of(entries, table_dtype, hidden_dim=tasks.prompts.shape[1]),
    )


def append_tasks(directory: Path, source: StoredTasks, tasks: ServedTasks, *, table_dtype: str) -> None:
    """Write variables for the tasks of `source` and, behind them, these; backbone and prompts there are taken over."""
    entries = _entries(source.directory)
    kept = {key: value for key, value in entries.items() if not is_column(key) and not is_empty_table(key, value)}
    files = _data_files(source.directory)
    _write(
        directory,
        kept,
        files,
        (*source.rows, *tasks.rows),
        tasks.tensors,
        graph=GraphTables.of(entries, table_dtype, hidden_dim=tasks.prompts.shape[1]),
    )


def index_file(directory: Path) -> Path:
    """Return where a version's index is."""
    return directory / f"{_PREFIX}.index"


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`, or a copy of it where the file system has no hard links."""
    try:
        os.link(os.path.realpath(source), target)  # a link to a symbolic link would lead elsewhere from another place
    except OSError:
        shutil.copy2(source, target)


def _write(
    directory: Path,
    kept: dict[bytes, bytes],
    files: list[Path],
    rows: Sequence[ServedTask],
    tensors: Mapping[str, np.ndarray],
    *,
    graph: GraphTables,
) -> None:
    """Write the small tables and the last rows of the large ones, and an index of these and of what is kept.

    Args:
      directory: the version.
      kept: entries of the tensors in `files`.
      files: the backbone's, and either no others or the tables' and the prompts' of another version.
      rows: all tasks.
      tensors: name -> [r, W], the rows of the last tasks, those that are in no file yet.
      graph: what the version's graph reads.
    """
    count = max(_FIRST_PROMPT_FILE, len(files)) + 1
    (directory / _PREFIX).parent.mkdir(exist_ok=True)
    for number, file in enumerate(files):
        if number != _COLUMNS_FILE:
            _take_over(file, _data_file(directory, number, count))
    values = task_columns(rows, tables=list(graph.tables))
    dtypes = {name: dtype for name, (dtype, _) in columns_of(list(graph.tables)).items()}
    small = [_Part(column_key(name), tf.constant(values[name], dtypes[name])) for name in graph.columns]
    parts = []
    for name, width in graph.tables.items():
        last = stored_prompts(tensors.get(name, np.zeros((0, width), np.float32)), graph.table_dtype)
        num_rows = 1 + sum(task.num_rows(name) for task in rows)
        parts += _parts(name, last, first=num_rows - len(last), num_rows=num_rows)
        if TABLE_KEYS[name] not in kept:  # row 0, which belongs to no task; with it no part of tasks is the whole table
            parts += _parts(name, tf.zeros([1, width], last.dtype), first=0, num_rows=num_rows)
    entries = kept | _save(directory, small, number=_COLUMNS_FILE, count=count)
    saved = _save(directory, parts, number=count - 1, count=count)
    for key in set(saved) & set(TABLE_KEYS.values()):
        saved[key] = _joined(kept.get(key), saved[key])
    header = tensor_bundle_pb2.BundleHeaderProto(num_shards=count, version={"producer": 1})
    write_index(index_file(directory), {b"": header.SerializeToString(), **entries, **saved})


class _Part(NamedTuple):
    """A tensor, or the rows of one that `rows` says in the form of `SaveV2`: "SIZES START,LENGTH:-"."""

    name: str
    value: tf.Tensor
    rows: str = ""


def _parts(name: str, values: tf.Tensor, *, first: int, num_rows: int) -> list[_Part]:
    """Cut the rows from `first` on of a table of `num_rows` into parts that are restored one by one."""
    count, width = values.shape
    step = max(1, _PART_BYTES // (width * values.dtype.size))
    return [
        _Part(
            TABLE_KEYS[name].decode(),
            values[start : start + step],
            f"{num_rows} {width} {first + start},{min(step, count - start)}:-",
        )
        for start in range(0, count, step)
    ]


def _save(directory: Path, parts: Sequence[_Part], *, number: int, count: int) -> dict[bytes, bytes]:
    """Write the data file with this number, of `count`; return its entries."""
    path = _data_file(directory, number, count)
    prefix = path.with_name("new")
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=[part.name for part in parts],
        shape_and_slices=[part.rows for part in parts],
        tensors=[part.value for part in parts],
    )
    os.rename(f"{prefix}.data-00000-of-00001", path)
    index = Path(f"{prefix}.index")
    entries = {key: value for key, value in read_index(index).items() if key}
    index.unlink()
    return {key: _moved(value, number) for key, value in entries.items()}


def _moved(value: bytes, number: int) -> bytes:
    entry = tensor_bundle_pb2.BundleEntryProto.FromString(value)
    entry.shard_id = number
    return entry.SerializeToString()


def _joined(before: bytes | None, last: bytes) -> bytes:
    """Return the entry of a whole tensor of which `last` knows the shape and the last part, and `before` the others."""
    entry = tensor_bundle_pb2.BundleEntryProto.FromString(last)
    parts = [*tensor_bundle_pb2.BundleEntryProto.FromString(before or b"").slices, *entry.slices]
    del entry.slices[:]
    entry.slices.extend(parts)
    return entry.SerializeToString()


# === Names ===


def _entries(directory: Path) -> dict[bytes, bytes]:
    """Return the entries of a version's tensors; the header has an empty key."""
    return {key: value for key, value in read_index(index_file(directory)).items() if key}


def _data_file(directory: Path, number: int, count: int) -> Path:
    return directory / f"{_PREFIX}.data-{number:05d}-of-{count:05d}"


def _data_files(directory: Path) -> list[Path]:
    """Return a version's data files in the order of their numbers."""
    files = sorted((directory / _PREFIX.parent).glob(f"{_PREFIX.name}.data-*"))
    if not files:
        raise ExportError(f"A version must have its variables. Received: {directory}, without {_PREFIX}.data-*.")
    return files


def _take_over(source: Path, target: Path) -> None:
    if source.parent == target.parent:
        os.rename(source, target)
    else:
        link_or_copy(source, target)
