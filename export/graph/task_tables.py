"""The tables of a served model: look up tasks by their ids, and their tensors.

All that depends on the tasks lives in variables whose sizes the graph does not know (K tasks, R rows of prompts, L labels of at
most U tokens), so that one graph serves any tasks. There is a table of rows for each tensor name that the graph reads: prompts in
every graph, others where its first tasks had them. A name is found by its 64-bit hash among the sorted hashes of all names.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate, pairwise

import numpy as np
import tensorflow as tf

from softprompt_tf.errors import ExportError
from softprompt_tf.export.graph.served_tasks import ServedTask, ServedTasks, padded_label_ids
from softprompt_tf.export.graph.stored_rows import FLOAT16_BITS, stored_prompts
from softprompt_tf.methods.task_tensors import PROMPT, TENSORS, TEXT_OFFSETS

MAX_STATUS_CHARACTERS = 1000
MEMBERS = "num_members"  # a column that exports from before there were ensembles do not have
# Name -> dtype and shape of the tables of K tasks and 1 + L labels. Row 0 of labels and of prompts belongs to no task.
COLUMNS: dict[str, tuple[tf.DType, list[int | None]]] = {
    "task_ids": (tf.string, [None]),
    "sorted_hashes": (tf.int64, [None]),
    "row_of_hash": (tf.int32, [None]),
    "unknown_status": (tf.string, []),
    "prompt_starts": (tf.int32, [None]),
    "prompt_lengths": (tf.int32, [None]),
    "text_before": (tf.string, [None]),
    "text_after": (tf.string, [None]),
    "label_starts": (tf.int32, [None]),
    "num_labels": (tf.int32, [None]),
    "label_words": (tf.string, [None]),
    "label_ids": (tf.int32, [None, None]),
    "opening_ids": (tf.int32, [None]),
    "max_input_tokens": (tf.int32, [None]),
    "max_target_tokens": (tf.int32, [None]),
    MEMBERS: (tf.int32, [None]),
}
# In the same way, the columns of a graph that has tables of other tensors; its graph does not read the methods.
METHODS = "methods"
# Column -> the field of a `ServedTask` that it holds, one value for each task.
_FIELD_OF_TEXTS = {"task_ids": "task_id", "text_before": "text_before", "text_after": "text_after"}
_FIELD_OF_NUMBERS = {
    "opening_ids": "opening_id",
    "max_input_tokens": "max_input_tokens",
    "max_target_tokens": "max_target_tokens",
    MEMBERS: "num_members",
}
EOS_ID = 1  # T5's; importing it from `t5` would load KerasHub, which adding a task can do without


class TaskTables(tf.Module):
    """The tables of K tasks as variables, and how a graph reads them.

    Args:
      tasks: the tasks; none, for a graph whose tables are filled when it is loaded.
      table_dtype: how tensors are stored, one of `TABLE_DTYPES`; they are served as float32. Default "float32".
      row_shapes: name of each tensor that there is a table of -> the shape of one row. Default: prompts alone, which there
        always are.

    Raises:
      ExportError: if a task has a tensor without a table.
    """

    def __init__(
        self,
        tasks: ServedTasks,
        *,
        table_dtype: str = "float32",
        row_shapes: Mapping[str, tuple[int, ...]] | None = None,
    ):
        super().__init__(name="tables")
        shapes = {**(row_shapes or {}), PROMPT: tasks.prompts.shape[1:]}
        _check_tables(tasks.rows, shapes)
        self._shapes = lambda: shapes  # a function, as TensorFlow would track, and save, a dictionary
        for name, shape in shapes.items():
            width = math.prod(shape)
            rows = stored_prompts(tasks.tensors.get(name, np.zeros((0, width), np.float32)), table_dtype)
            padded = tf.pad(rows, [[1, 0], [0, 0]])
            variable = tf.Variable(
                padded, trainable=False, shape=[None, width], dtype=padded.dtype, name=table_name(name)
            )
            setattr(self, table_name(name), variable)
        values = task_columns(tasks.rows, tables=list(shapes))
        self.columns = {
            name: tf.Variable(tf.constant(values[name], dtype), trainable=False, shape=shape, dtype=dtype, name=name)
            for name, (dtype, shape) in columns_of(list(shapes)).items()
        }

    @property
    def row_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The name of each tensor that there is a table of -> the shape of one row."""
        return self._shapes()

    def find(self, task_id: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return each name's row int32 [B], 0 where there is no such task, and a status string [B] that says so."""
        hashes = self.columns["sorted_hashes"].read_value()
        hashed = hash_names(task_id)
        place = tf.minimum(tf.searchsorted(hashes, hashed), tf.size(hashes) - 1)
        row = tf.gather(self.columns["row_of_hash"], place)
        is_known = tf.gather(self.columns["task_ids"], row) == task_id
        safe_id = tf.strings.unicode_transcode(tf.strings.substr(task_id, 0, 200), "UTF-8", "UTF-8")
        unknown = tf.strings.join(["Unknown task id '", safe_id, self.columns["unknown_status"].read_value()])
        return tf.where(is_known, row, 0), tf.where(is_known, "", unknown)

    def of(self, name: str, row: tf.Tensor) -> tf.Tensor:
        """Return a column's values [B] of some rows [B]."""
        return tf.gather(self.columns[name], row)

    def lengths(self, name: str, row: tf.Tensor) -> tf.Tensor:
        """Return how many rows of a tensor the tasks `row` have, int32 [B]; 0 where the graph has no table of it."""
        return self.of(f"{name}_lengths", row) if name in self.row_shapes else tf.zeros_like(row)

    def prompt(self, row: tf.Tensor, member: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return prompts float32 [B, P, H] and their mask int32 [B, P]; see `rows`."""
        return self.rows(PROMPT, row, member)

    def rows(
        self, name: str, row: tf.Tensor, member: tf.Tensor, token_ids: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return a tensor's rows float32 [B, P, *row shape] and their mask int32 [B, P].

        P is the batch's longest, at least 1; a task without the tensor is masked as a whole. Rows are right-aligned: a short
        prompt touches the text as it would alone, and answers so, as T5's positions are relative. Offsets of texts alone begin
        at the first position.

        Args:
          name: of the tensor; the graph must have its table.
          row: int32 [B], the tasks.
          member: int32 [B], which of a task's prompts; 0 for a task that is no ensemble.
          token_ids: [B, T] the texts, where offsets past the longest are not needed.
        """
        lengths = self.of(f"{name}_lengths", row)  # [B]
        starts = self.of(f"{name}_starts", row) + member * lengths
        longest = tf.maximum(tf.reduce_max(lengths), 1)
        if name == TEXT_OFFSETS:
            if token_ids is not None:
                longest = tf.minimum(longest, tf.shape(token_ids)[1])
            place = tf.range(longest)[None, :]
            mask = place < lengths[:, None]
        else:
            place = tf.range(longest)[None, :] - (longest - lengths)[:, None]  # [B, P], negative in front of a prompt
            mask = place >= 0
        rows = tf.gather(getattr(self, table_name(name)), tf.where(mask, starts[:, None] + place, 0))
        if rows.dtype == FLOAT16_BITS:
            rows = tf.bitcast(rows, tf.float16)
        shape = self.row_shapes[name]
        if len(shape) > 1:
            rows = tf.reshape(rows, [*tf.unstack(tf.shape(mask)), *shape])
        return tf.cast(rows, tf.float32), tf.cast(mask, tf.int32)

    def key(self, names: Collection[str], row: tf.Tensor, member: tf.Tensor) -> tf.Tensor:
        """Return string [B], equal for rows that have the same values of these tensors; "" for a task that has none of them.

        Args:
          names: of tensors that the graph has tables of.
          row, member: as in `rows`.
        """
        lengths = tf.add_n([self.of(f"{name}_lengths", row) for name in names])
        own = tf.strings.join([tf.strings.as_string(row), tf.strings.as_string(member)], separator=" ")
        return tf.where(lengths > 0, own, "")

    def labels(self, row: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return the label words [B, C], their ids [B, C, U], and which of them are labels, bool [B, C].

        C and U are the batch's largest, so that a task of many labels costs nothing where it is not asked.
        """
        num_labels = self.of("num_labels", row)
        place = tf.range(tf.maximum(tf.reduce_max(num_labels), 1))[None, :]
        is_label = place < num_labels[:, None]
        label = tf.where(is_label, self.of("label_starts", row)[:, None] + place, 0)  # [B, C]
        ids = tf.gather(self.columns["label_ids"], label)
        longest = tf.reduce_max(tf.reduce_sum(tf.cast(ids != 0, tf.int32), axis=-1))
        return tf.gather(self.columns["label_words"], label), ids[:, :, :longest], is_label

    def most_labels(self) -> tf.Tensor:
        """Return the largest number of labels of any task, at least 1."""
        return tf.maximum(tf.reduce_max(self.columns["num_labels"]), 1)


def table_name(name: str) -> str:
    """Return the variable's name of the table of tensor `name`."""
    return "prompts" if name == PROMPT else name


def columns_of(tables: Sequence[str]) -> dict[str, tuple[tf.DType, list[int | None]]]:
    """Return dtype and shape of the columns of a graph that has tables of these tensors."""
    others = [name for name in tables if name != PROMPT]
    columns = dict(COLUMNS)
    for name in others:
        columns |= {f"{name}_starts": (tf.int32, [None]), f"{name}_lengths": (tf.int32, [None])}
    if others:
        columns[METHODS] = (tf.string, [None])
    return columns


def task_columns(rows: Sequence[ServedTask], *, tables: Sequence[str] = (PROMPT,)) -> dict[str, np.ndarray]:
    """Return the values of `columns_of` these tables.

    Raises:
      ExportError: if two names have the same hash.
    """
    names = [task.task_id for task in rows]
    hashes = hash_names(_strings(names)).numpy()
    order = np.argsort(hashes, kind="stable")
    for first, second in pairwise(order):
        if hashes[first] == hashes[second]:
            raise ExportError(
                "Every task id must have a hash of its own. "
                f"Received: {names[first]!r} and {names[second]!r}, which share one. Rename one of them."
            )
    label_ids = padded_label_ids(rows)
    no_label = np.zeros((1, label_ids[0].shape[1] if rows else 1), np.int32)
    no_label[0, 0] = EOS_ID  # masked wherever it stands for a label
    numbers = {
        "row_of_hash": order,
        **{f"{table}_starts": _starts([task.num_rows(table) for task in rows]) for table in tables},
        **{f"{table}_lengths": [task.lengths.get(table, 0) for task in rows] for table in tables},
        "label_starts": _starts([len(task.labels) for task in rows]),
        "num_labels": [len(task.labels) for task in rows],
        "label_ids": np.concatenate([no_label, *label_ids]),
        **{column: [getattr(task, field) for task in rows] for column, field in _FIELD_OF_NUMBERS.items()},
    }
    return {
        "sorted_hashes": hashes[order],
        "unknown_status": np.array(_unknown_status(names).encode(), object),
        **{column: _strings([getattr(task, field) for task in rows]) for column, field in _FIELD_OF_TEXTS.items()},
        METHODS: _strings([task.method for task in rows]),
        "label_words": _strings(["", *(label for task in rows for label in task.labels)]),
        **{name: np.asarray(value, np.int32) for name, value in numbers.items()},
    }


def tasks_of(columns: Mapping[str, np.ndarray]) -> tuple[ServedTask, ...]:
    """Return the tasks that `task_columns` made these columns of; without `MEMBERS`, each has one prompt."""
    columns = {MEMBERS: np.ones(len(columns["task_ids"]), np.int32), **columns}
    texts = {field: columns[column] for column, field in _FIELD_OF_TEXTS.items()}
    if METHODS in columns:
        texts["method"] = columns[METHODS]
    numbers = {field: columns[column] for column, field in _FIELD_OF_NUMBERS.items()}
    lengths = {name: columns[f"{name}_lengths"] for name in TENSORS if f"{name}_lengths" in columns}
    words = [word.decode() for word in columns["label_words"].tolist()]
    ids = [tuple(token for token in row if token) for row in columns["label_ids"].tolist()]
    places = zip(columns["label_starts"].tolist(), columns["num_labels"].tolist(), strict=True)
    labels = [slice(start, start + count) for start, count in places]
    return tuple(
        ServedTask(
            lengths={name: int(column[k]) for name, column in lengths.items() if column[k]},
            labels=tuple(words[labels[k]]),
            label_ids=tuple(ids[labels[k]]),
            **{field: column[k].decode() for field, column in texts.items()},
            **{field: int(column[k]) for field, column in numbers.items()},
        )
        for k in range(len(columns["task_ids"]))
    )


def _check_tables(rows: Sequence[ServedTask], tables: Collection[str]) -> None:
    for task in rows:
        missing = [name for name in task.lengths if name not in tables]
        if missing:
            raise ExportError(
                f"A served task's tensors need a table each. Received: task {task.task_id!r} with {', '.join(missing)}, tables "
                f"of {', '.join(tables)}."
            )


def hash_names(names: tf.Tensor) -> tf.Tensor:
    """Hash strings [K] to int64 [K], the same in every process and version."""
    return tf.strings.to_hash_bucket_fast(names, 2**63 - 1)


def _starts(lengths: Sequence[int]) -> list[int]:
    """Return where each of several stretches begins, which stand behind each other from row 1 on."""
    return list(accumulate(lengths, initial=1))[:-1]


def _strings(values: Sequence[str]) -> np.ndarray:
    return np.array([value.encode() for value in values], object)


def _unknown_status(task_ids: Sequence[str]) -> str:
    known = ", ".join(task_ids)
    if len(known) > MAX_STATUS_CHARACTERS:
        known = known[: MAX_STATUS_CHARACTERS - 3] + "..."
    return f"'. Known: {known}."
