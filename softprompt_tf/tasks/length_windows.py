"""Group rows of similar length into batches, as a `tf.data.Dataset`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from softprompt_tf.tasks.mapped import mapped

if TYPE_CHECKING:
    import tensorflow as tf

# Batches per window. More saves little: on SST-2, in batches of 32 with a prompt of 20, 42 positions a row instead of 43.
LENGTH_BUCKETS = 16


def shuffled_by_length(
    columns: Mapping[str, Any], *, batch_size: int, length_buckets: int = LENGTH_BUCKETS
) -> "tf.data.Dataset":
    """Deal shuffled rows out in batches of similar length; every row once, in a new order at each pass.

    Rows are shuffled, cut into windows of `length_buckets` batches, and sorted within each window by the bytes of
    `encoder_text`; then the batches are shuffled. The order follows TensorFlow's global seed.

    Args:
      columns: `encoder_text` string [N], and whatever else the rows hold, each [N].
      batch_size: rows per batch, B; one batch is smaller where N is no multiple of it.
      length_buckets: batches per window; 1 only shuffles.

    Returns:
      A dataset of dictionaries with the columns' names, each [B].
    """
    import tensorflow as tf

    num_rows = len(columns["encoder_text"])
    rows = tf.data.Dataset.from_tensor_slices(dict(columns))
    rows = rows.shuffle(num_rows, reshuffle_each_iteration=True)
    if length_buckets == 1 or num_rows <= batch_size:
        return rows.batch(batch_size)
    batches = mapped(rows.batch(length_buckets * batch_size), _sorted).rebatch(batch_size)
    return batches.shuffle(-(-num_rows // batch_size), reshuffle_each_iteration=True)


def _sorted(window: dict[str, "tf.Tensor"]) -> dict[str, "tf.Tensor"]:
    """Sort the rows of a window by length; equals keep their order."""
    import tensorflow as tf

    order = tf.argsort(tf.strings.length(window["encoder_text"]), stable=True)  # [W]
    return {name: tf.gather(column, order) for name, column in window.items()}
