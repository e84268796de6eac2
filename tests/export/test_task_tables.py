"""The tables of tasks hold what was worked out by hand, are read back as they were, and are looked up row by row."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from softprompt_tf.errors import ExportError
from softprompt_tf.export.graph import task_columns as columns_module
from softprompt_tf.export.graph import task_tables
from softprompt_tf.export.graph.served_tasks import ServedTasks, build_served_tasks
from softprompt_tf.export.graph.stored_rows import restored_prompts, stored_prompts
from softprompt_tf.export.graph.task_columns import task_columns, tasks_of
from softprompt_tf.export.graph.task_tables import TaskTables

NAMES = ("mood", "story", "reply")


@pytest.fixture(scope="module")
def tasks(tiny_t5, task_prompts):
    return build_served_tasks(tiny_t5, task_prompts)


@pytest.fixture(scope="module")
def tables(tasks):
    return TaskTables(tasks)


def test_row_0_of_prompts_and_labels_belongs_to_no_task(tables, tasks):
    assert not tables.prompts.numpy()[0].any()
    np.testing.assert_array_equal(tables.prompts.numpy()[1:], tasks.prompts)
    assert tables.columns["prompt_starts"].numpy().tolist() == [1, 4, 11]
    assert tables.columns["label_starts"].numpy().tolist() == [1, 3, 3]
    words = [b"", b"negative", b"positive", b"yes", b"no", b"nobody could say"]
    assert tables.columns["label_words"].numpy().tolist() == words
    assert tables.columns["label_ids"].numpy()[0, :2].tolist() == [1, 0]


def test_tasks_are_read_back_as_they_were(tasks):
    assert tasks_of(task_columns(tasks.rows)) == tasks.rows


def test_every_name_is_found(tables):
    row, status = tables.find(tf.constant(["reply", "mood", "story", "mood"]))

    assert row.numpy().tolist() == [2, 0, 1, 0]
    assert status.numpy().tolist() == [b""] * 4


def test_each_of_10000_names_is_found_and_no_other(tasks):
    names = [f"task {k}" for k in range(10_000)]
    rows = tuple(dataclasses.replace(tasks.rows[1], task_id=name) for name in names)
    tables = TaskTables(ServedTasks(rows, {"prompt": np.zeros((70_000, 1), np.float32)}))

    row, status = tables.find(tf.constant(names))
    other, other_status = tables.find(tf.constant(["task 10000", "", "task"]))

    assert row.numpy().tolist() == list(range(10_000))
    assert set(status.numpy()) == {b""}
    assert other.numpy().tolist() == [0, 0, 0]
    assert other_status.numpy()[0].startswith(b"Unknown task id 'task 10000'. Known: task 0, task 1, ")


def test_two_names_of_one_hash_are_refused(tasks, monkeypatch):
    monkeypatch.setattr(columns_module, "hash_names", lambda names: tf.zeros(tf.shape(names), tf.int64))

    with pytest.raises(ExportError, match="hash of its own. Received: 'mood' and 'story', which share one. Rename"):
        task_columns(tasks.rows)


def test_a_name_with_the_hash_of_another_is_unknown(tasks, monkeypatch):
    tables = TaskTables(ServedTasks(tasks.rows[:1], {"prompt": tasks.prompts[:3]}))
    (known,) = tables.columns["sorted_hashes"].numpy()
    monkeypatch.setattr(task_tables, "hash_names", lambda names: tf.fill(tf.shape(names), known))

    row, status = tables.find(tf.constant(["mood", "doom"]))

    assert row.numpy().tolist() == [0, 0]
    assert status.numpy().tolist() == [b"", b"Unknown task id 'doom'. Known: mood."]


def test_a_batchs_prompts_are_right_aligned_and_no_longer_than_its_longest(tables, task_prompts):
    prompt, mask = tables.prompt(tf.constant([1, 0]), tf.constant([0, 0]))

    assert prompt.shape == (2, 7, 16)
    np.testing.assert_array_equal(prompt[0], task_prompts["story"].prompt)
    np.testing.assert_array_equal(prompt[1, 4:], task_prompts["mood"].prompt)
    assert not prompt[1, :4].numpy().any()
    assert mask.numpy().tolist() == [[1] * 7, [0] * 4 + [1] * 3]


def test_a_batchs_labels_are_no_more_and_no_longer_than_its_tasks_have(tables, tasks):
    words, ids, is_label = tables.labels(tf.constant([0, 1]))

    assert words.numpy().tolist() == [[b"negative", b"positive"], [b"", b""]]
    assert is_label.numpy().tolist() == [[True, True], [False, False]]
    # The labels of "mood" are cut to one piece and end.
    assert ids.numpy()[0].tolist() == [list(label) for label in tasks.rows[0].label_ids]
    assert ids.numpy()[1].tolist() == [[1, 0], [1, 0]]


def test_the_most_labels_are_those_of_any_task(tables, tasks):
    alone = TaskTables(ServedTasks(tasks.rows[1:2], {"prompt": tasks.prompts[3:10]}))

    assert (int(tables.most_labels()), int(alone.most_labels())) == (3, 1)


@pytest.mark.parametrize(("table_dtype", "digits"), [("float32", 24), ("bfloat16", 8), ("float16", 11)])
def test_prompts_are_stored_with_the_digits_of_the_dtype(tasks, table_dtype, digits):
    stored = stored_prompts(tasks.prompts, table_dtype)

    restored = restored_prompts(stored.numpy())
    assert stored.dtype.size == (4 if table_dtype == "float32" else 2)
    assert restored.dtype == np.float32
    assert (np.abs(restored - tasks.prompts) <= 2.0**-digits * np.abs(tasks.prompts)).all()
    np.testing.assert_array_equal(restored_prompts(stored_prompts(restored, table_dtype).numpy()), restored)


@pytest.mark.parametrize("table_dtype", ["float32", "bfloat16", "float16"])
def test_a_table_of_every_dtype_is_served_in_float32(tasks, table_dtype):
    tables = TaskTables(tasks, table_dtype=table_dtype)

    prompt, _ = tables.prompt(tf.constant([2]), tf.constant([0]))

    assert prompt.dtype == tf.float32
    np.testing.assert_array_equal(prompt[0], restored_prompts(stored_prompts(tasks.prompts[10:], table_dtype).numpy()))


def test_a_value_that_does_not_fit_is_refused():
    with pytest.raises(ExportError, match="must fit into float16. Received: a value of 70000. Use float32."):
        stored_prompts(np.array([[1.0, -70_000.0]], np.float32), "float16")


def test_an_unknown_dtype_is_refused():
    with pytest.raises(ExportError, match="must be one of float32, bfloat16, float16. Received: 'int8'."):
        stored_prompts(np.ones((1, 1), np.float32), "int8")
