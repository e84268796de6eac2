"""The tasks of a served model, as its signature `tasks` answers: which there are, and what each answers with."""

import tensorflow as tf

from softprompt_tf.export.graph.task_columns import MEMBERS
from softprompt_tf.export.graph.task_tables import TaskTables


def list_tasks(tables: TaskTables, prefix: tf.Tensor) -> dict[str, tf.Tensor]:
    """Return the tasks whose ids begin with each prefix, in the order of the tables.

    Args:
      tables: the K tasks.
      prefix: string [B], compared as bytes; "" asks for all.

    Returns:
      `task_id` [B, K'], K' being the most that any row finds, and "" behind the last of a row; `labels` [B, K', C], "" behind
      the last of a task; int32 [B, K'] `num_labels`, `max_input_tokens`, `max_target_tokens` and `num_prompts`, 0 where there
      is no task; `status` [B], always "".
    """
    columns, ids = tables.columns, tables.columns["task_ids"].read_value()
    size = tf.stack([tf.size(prefix), tf.size(ids)])
    lengths = tf.broadcast_to(tf.strings.length(prefix)[:, None], size)
    is_meant = tf.strings.substr(tf.broadcast_to(ids, size), tf.zeros(size, tf.int32), lengths) == prefix[:, None]
    most, none = tf.reduce_max(tf.reduce_sum(tf.cast(is_meant, tf.int32), axis=1)), tf.size(ids)
    rows = tf.sort(tf.where(is_meant, tf.range(none), none))[:, :most]  # [B, K'], those that are meant in front
    is_task = rows < none
    rows = tf.where(is_task, rows, 0)

    def numbers(name: str) -> tf.Tensor:
        return tf.where(is_task, tables.of(name, rows), 0)

    num_labels = numbers("num_labels")
    label, _ = tables.label_places(num_labels, numbers("label_starts"))
    return {
        "task_id": tf.where(is_task, tf.gather(ids, rows), ""),
        "labels": tf.gather(columns["label_words"], label),
        "num_labels": num_labels,
        "max_input_tokens": numbers("max_input_tokens"),
        "max_target_tokens": numbers("max_target_tokens") - tf.cast(numbers("opening_ids") > 0, tf.int32),
        "num_prompts": numbers(MEMBERS),
        "status": tf.fill(tf.shape(prefix), ""),
    }
