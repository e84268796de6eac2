"""How heads move: against NumPy's transposition, and on integers where oneDNN would take floats."""

import numpy as np
import pytest
import tensorflow as tf

from softprompt_tf.backbones.passes.heads import Shape, join_heads, move_small, split_heads

B, S, N, D = 2, 3, 4, 5


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("axes", [(1, 0, 2, 3), (0, 2, 1, 3)])
def test_a_small_tensor_moves_as_numpy_moves_it(dtype, axes):
    values = tf.cast(tf.random.stateless_normal((B, S, N, D), seed=(1, 2)), dtype)

    moved = move_small(values, axes)

    assert moved.dtype == values.dtype
    np.testing.assert_array_equal(moved.numpy(), values.numpy().transpose(axes))


@pytest.mark.parametrize("is_small", [False, True])
def test_rows_fall_into_heads_and_back(is_small):
    rows, shape = np.arange(B * S * N * D, dtype=np.float32).reshape(B * S, N * D), Shape(B, S, N, D, is_small)

    heads = split_heads(tf.constant(rows), shape)

    np.testing.assert_array_equal(heads[1, 3, 2], rows[1 * S + 2, 3 * D :])
    np.testing.assert_array_equal(join_heads(heads, shape), rows)


def test_small_heads_move_as_integers_and_others_as_floats():
    def ops_of(is_small):
        move = tf.function(lambda rows: split_heads(rows, Shape(B, S, N, D, is_small)))
        graph = move.get_concrete_function(tf.TensorSpec((B * S, N * D), tf.float32)).graph
        return {(each.type, each.get_attr("T")) for each in graph.get_operations() if each.type == "Transpose"}

    assert ops_of(is_small=True) == {("Transpose", tf.int32)}
    assert ops_of(is_small=False) == {("Transpose", tf.float32)}
