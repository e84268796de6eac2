"""The prompt table, eager, in graphs, in functional models and under mixed precision."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from softprompt_tf.errors import PromptError
from softprompt_tf.prompts import PromptTable

ONE = np.arange(6, dtype=np.float32).reshape(2, 3)  # [P, H]
MANY = np.stack([ONE, ONE + 10, ONE + 20])  # [K, P, H]


def test_one_prompt_is_repeated_for_every_row():
    table = PromptTable(2, 3, initial_value=ONE)

    prompts = table(np.zeros((4, 7), np.int32))

    np.testing.assert_array_equal(prompts, np.stack([ONE] * 4))


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 7, 5), (4, 0), (0, 7)], ids=str)
def test_any_tensor_can_tell_the_batch_size(shape):
    table = PromptTable(2, 3, initial_value=ONE)

    assert table(np.full(shape, np.nan, np.float32)).shape == (shape[0], 2, 3)
    assert np.isfinite(table(np.full(shape, np.nan, np.float32))).all()


def test_each_row_gets_its_tasks_prompt():
    table = PromptTable(2, 3, num_tasks=3, initial_value=MANY)

    prompts = table(np.zeros((4, 7)), task_id=np.array([2, 0, 2, 1]))

    np.testing.assert_array_equal(prompts, MANY[[2, 0, 2, 1]])


def test_a_task_id_outside_the_table_gives_nan_and_leaves_its_neighbours():
    table = PromptTable(2, 3, num_tasks=3, initial_value=MANY)

    prompts = np.asarray(table(np.zeros((4, 7)), task_id=np.array([-1, 1, 3, 0])))

    assert np.isnan(prompts[[0, 2]]).all()
    np.testing.assert_array_equal(prompts[[1, 3]], MANY[[1, 0]])


def test_a_graph_of_unknown_batch_size_agrees_with_eager():
    one = PromptTable(2, 3, initial_value=ONE)
    many = PromptTable(2, 3, num_tasks=3, initial_value=MANY)

    @tf.function(
        input_signature=[tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)], autograph=False
    )
    def run(token_ids, task_id):
        return one(token_ids), many(token_ids, task_id=task_id)

    for ids in ([1], [2, 1, 0]):
        first, second = run(tf.zeros([len(ids), 5], tf.int32), tf.constant(ids))
        np.testing.assert_array_equal(first, np.stack([ONE] * len(ids)))
        np.testing.assert_array_equal(second, MANY[ids])


def test_a_functional_model_of_unknown_batch_size():
    token_ids = keras.Input([None], dtype="int32")
    task_id = keras.Input([], dtype="int32")
    output = PromptTable(2, 3, num_tasks=3, initial_value=MANY)(token_ids, task_id=task_id)
    shared = PromptTable(2, 3, initial_value=ONE)(token_ids)
    model = keras.Model([token_ids, task_id], [output, shared])

    prompts, rows = model([np.zeros((2, 5), np.int32), np.array([1, 2])])

    assert output.shape == shared.shape == (None, 2, 3)
    np.testing.assert_array_equal(prompts, MANY[[1, 2]])
    np.testing.assert_array_equal(rows, [ONE, ONE])


@pytest.mark.parametrize("policy", ["bfloat16", "mixed_bfloat16"])
@pytest.mark.parametrize("num_tasks", [None, 3])
def test_the_variable_stays_float32_under_a_low_precision_policy(policy, num_tasks):
    table = PromptTable(2, 3, num_tasks=num_tasks, dtype=policy)
    task_id = None if num_tasks is None else np.array([0, 1])

    prompts = table(np.zeros((2, 5), np.float32), task_id=task_id)

    assert keras.backend.standardize_dtype(prompts.dtype) == "bfloat16"
    assert keras.backend.standardize_dtype(table.prompt.dtype) == "float32"


def test_gradients_of_a_bfloat16_batch_are_summed_in_float32():
    table = PromptTable(1, 1, dtype="bfloat16", initial_value=np.ones((1, 1)))

    with tf.GradientTape() as tape:
        total = tf.reduce_sum(tf.cast(table(tf.zeros([257, 1])), tf.float32))

    # bfloat16 holds 256 and 258, but not 257.
    assert tape.gradient(total, table.prompt.value).numpy() == 257


def test_the_gradient_reaches_only_the_batchs_tasks_and_is_dense():
    table = PromptTable(2, 3, num_tasks=3, initial_value=MANY)

    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(table(tf.zeros([3, 5]), task_id=tf.constant([2, 0, 2])))
    gradient = tape.gradient(loss, table.prompt.value)

    assert isinstance(gradient, tf.Tensor)
    np.testing.assert_array_equal(gradient, np.ones((3, 2, 3)) * [[[1]], [[0]], [[2]]])


def test_the_gradient_of_one_prompt_is_the_sum_over_the_batch():
    table = PromptTable(2, 3, initial_value=ONE)
    weights = np.arange(24, dtype=np.float32).reshape(4, 2, 3)

    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(table(tf.zeros([4, 5])) * weights)

    np.testing.assert_array_equal(tape.gradient(loss, table.prompt.value), weights.sum(axis=0))


@pytest.mark.parametrize(("num_tasks", "shape"), [(None, (2, 3)), (3, (3, 2, 3))])
def test_there_is_one_trainable_variable_named_prompt(num_tasks, shape):
    table = PromptTable(2, 3, num_tasks=num_tasks)

    assert [variable.name for variable in table.trainable_variables] == ["prompt"]
    assert table.prompt.shape == shape
    assert np.abs(table.prompt.numpy()).max() <= 0.5


@pytest.mark.parametrize("num_tasks", [None, 3])
def test_a_config_makes_the_same_layer(num_tasks):
    table = PromptTable(2, 3, num_tasks=num_tasks, name="prompts", dtype="mixed_bfloat16")

    again = keras.layers.deserialize(keras.layers.serialize(table))

    assert isinstance(again, PromptTable)
    assert again.get_config() == table.get_config()
    assert again.prompt.shape == table.prompt.shape


def test_a_saved_model_keeps_the_values(tmp_path):
    token_ids = keras.Input([None], dtype="int32")
    model = keras.Model(token_ids, PromptTable(2, 3, initial_value=ONE)(token_ids))
    model.save(tmp_path / "model.keras")

    again = keras.models.load_model(tmp_path / "model.keras")

    np.testing.assert_array_equal(again(np.zeros((1, 4), np.int32))[0], ONE)


def test_fit_moves_only_the_tasks_it_sees():
    token_ids, task_id = keras.Input([None], dtype="int32"), keras.Input([], dtype="int32")
    table = PromptTable(2, 3, num_tasks=3, initial_value=MANY)
    model = keras.Model([token_ids, task_id], table(token_ids, task_id=task_id))
    model.compile(optimizer=keras.optimizers.SGD(0.5), loss="mse")

    model.fit([np.zeros((2, 4), np.int32), np.array([1, 1])], np.zeros((2, 2, 3), np.float32), verbose=0)

    np.testing.assert_array_equal(table.prompt.numpy()[[0, 2]], MANY[[0, 2]])
    assert not np.array_equal(table.prompt.numpy()[1], MANY[1])


@pytest.mark.parametrize(("num_tasks", "task_id"), [(None, np.array([0])), (3, None)])
def test_task_ids_go_with_a_table_of_tasks(num_tasks, task_id):
    with pytest.raises(
        PromptError, match="`task_id` must be given where the table holds several tasks, and only there"
    ):
        PromptTable(2, 3, num_tasks=num_tasks)(np.zeros((1, 4)), task_id=task_id)


def test_an_initial_value_of_another_shape_is_an_error():
    with pytest.raises(PromptError, match=r"the shape \[3, 2, 3\]\. Received: shape \[2, 3\]"):
        PromptTable(2, 3, num_tasks=3, initial_value=ONE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 0, "hidden_dim": 3}, "`length` must be a positive integer. Received: length=0"),
        ({"length": 2, "hidden_dim": 2.5}, "`hidden_dim` must be a positive integer. Received: hidden_dim=2.5"),
        ({"length": 2, "hidden_dim": 3, "num_tasks": True}, "`num_tasks` must be .* Received: num_tasks=True"),
    ],
)
def test_sizes_must_be_positive_integers(arguments, message):
    with pytest.raises(PromptError, match=message):
        PromptTable(**arguments)
