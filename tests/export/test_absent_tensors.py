"""What no row of a batch has is left out of the work for it."""

import pytest
import tensorflow as tf

from softprompt_tf.export.graph.absent_tensors import without_absent

NAMES = ("prompt_behind_encoder", "encoder_query_delta", "encoder_key_values")
INSIDE = NAMES[1:]


def _names_that_run(names, parts):
    return tf.constant(" ".join(names)), tf.add_n([tf.reduce_sum(rows) for rows in parts[::2]])


@tf.function(autograph=False)
def _run(*counts):
    """Run with tensors of one row of 1.0 each, for two rows of a batch, of which `counts` [2] says who has it."""
    parts = [part for count in counts for part in (tf.ones([2, 1, 4]), count[:, None])]
    return without_absent(_names_that_run, NAMES, parts, among=INSIDE)


@pytest.mark.parametrize(
    ("delta", "key_values", "names"),
    [([0, 0], [0, 0], NAMES[:1]), ([0, 1], [0, 0], NAMES), ([0, 0], [1, 0], NAMES), ([1, 1], [1, 1], NAMES)],
)
def test_a_batch_runs_with_all_or_without_what_nobody_has(delta, key_values, names):
    got, total = _run(*(tf.constant(counts) for counts in ([1, 1], delta, key_values)))
    assert got.numpy().decode() == " ".join(names)
    assert total.numpy() == 8 * len(names)  # 2 rows of 4 ones for each


def test_a_graph_without_such_tensors_does_not_choose():
    graph = tf.function(
        lambda rows, mask: without_absent(_names_that_run, NAMES[:1], [rows, mask], among=INSIDE)
    ).get_concrete_function(tf.TensorSpec([2, 1, 4]), tf.TensorSpec([2, 1], tf.int32))
    assert "If" not in {node.op.removeprefix("Stateless") for node in graph.graph.as_graph_def().node}
