"""The tables of a served model: look up tasks by their ids, and their tensors.

All that depends on the tasks lives in variables whose sizes the graph does not know (K tasks, R rows of prompts, L labels of at
most U tokens), so that one graph serves any tasks. There is a table of rows for each tensor name that the graph reads: prompts in
every graph, others where its first tasks had them. A name is found by its 64-bit hash among the sorted hashes of all names.
"""

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import tensorflow as tf

from softprompt_tf.errors import ExportError
from softprompt_tf.export.graph.served_tasks import ServedTask, ServedTasks
from softprompt_tf.export.graph.stored_rows import FLOAT16_BITS, stored_prompts
from softprompt_tf.export.graph.task_columns import columns_of, hash_names, task_columns
from softprompt_tf.methods.task_tensors import PROMPT, TEXT_OFFSETS


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
        label, is_label = self.label_places(self.of("num_labels", row), self.of("label_starts", row))
        ids = tf.gather(self.columns["label_ids"], label)
        longest = tf.reduce_max(tf.reduce_sum(tf.cast(ids != 0, tf.int32), axis=-1))
        return tf.gather(self.columns["label_words"], label), ids[:, :, :longest], is_label

    def label_places(self, num_labels: tf.Tensor, label_starts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return where the labels of tasks stand, int32 [..., C], 0 where there is none, and which are labels, bool [..., C].

        C is the largest of `num_labels` [...], at least 1.
        """
        place = tf.range(tf.maximum(tf.reduce_max(num_labels), 1))
        is_label = place < num_labels[..., None]
        return tf.where(is_label, label_starts[..., None] + place, 0), is_label

    def most_labels(self) -> tf.Tensor:
        """Return the largest number of labels of any task, at least 1."""
        return tf.maximum(tf.reduce_max(self.columns["num_labels"]), 1)


def table_name(name: str) -> str:
    """Return the variable's name of the table of tensor `name`."""
    return "prompts" if name == PROMPT else name


def _check_tables(rows: Sequence[ServedTask], tables: Collection[str]) -> None:
    for task in rows:
        missing = [name for name in task.lengths if name not in tables]
        if missing:
            raise ExportError(
                f"A served task's tensors need a table each. Received: task {task.task_id!r} with {', '.join(missing)}, tables "
                f"of {', '.join(tables)}."
            )
