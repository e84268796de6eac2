"""What the tables of a served model hold of its tasks, but for their tensors: a column for each kind of value.

A name is found by its 64-bit hash among the sorted hashes of all names.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

import numpy as np
import tensorflow as tf

from softprompt_tf.errors import ExportError
from softprompt_tf.export.graph.served_tasks import ServedTask, padded_label_ids
from softprompt_tf.methods.task_tensors import PROMPT, TENSORS

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
