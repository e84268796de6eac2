"""The prompt table, eager, in graphs, in functional models and under mixed precision."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from softprompt_tf.errors import PromptError
from softprompt_tf.methods import TaskTable

ONE = np.arange(6, dtype=np.float32).reshape(2, 3)  # [P, H]
MANY = np.stack([ONE, ONE + 10, ONE + 20])  # [K, P, H]


def prompt_table(length, hidden_dim, *, initial_value=None, **settings):
    values = None if initial_value is None else {"prompt": initial_value}
    return TaskTable({"prompt": (length, hidden_dim)}, initial_values=values, **settings)


def test_one_prompt_is_repeated_for_every_row():
    table = prompt_table(2, 3, initial_value=ONE)

    prompts = table(np.zeros((4, 7), np.int32))["prompt"]

    np.testing.assert_array_equal(prompts, np.stack([ONE] * 4))


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 7, 5), (4, 0), (0, 7)], ids=str)
def test_any_tensor_can_tell_the_batch_size(shape):
    table = prompt_table(2, 3, initial_value=ONE)

    assert table(np.full(shape, np.nan, np.float32))["prompt"].shape == (shape[0], 2, 3)
    assert np.isfinite(table(np.full(shape, np.nan, np.float32))["prompt"]).all()


def test_each_row_gets_its_tasks_prompt():
    table = prompt_table(2, 3, num_tasks=3, initial_value=MANY)

    prompts = table(np.zeros((4, 7)), task_id=np.array([2, 0, 2, 1]))["prompt"]

    np.testing.assert_array_equal(prompts, MANY[[2, 0, 2, 1]])


def test_a_task_id_outside_the_table_gives_nan_and_leaves_its_neighbours():
    table = prompt_table(2, 3, num_tasks=3, initial_value=MANY)

    prompts = np.asarray(table(np.zeros((4, 7)), task_id=np.array([-1, 1, 3, 0]))["prompt"])

    assert np.isnan(prompts[[0, 2]]).all()
    np.testing.assert_array_equal(prompts[[1, 3]], MANY[[1, 0]])


def test_a_graph_of_unknown_batch_size_agrees_with_eager():
    one = prompt_table(2, 3, initial_value=ONE)
    many = prompt_table(2, 3, num_tasks=3, initial_value=MANY)

    @tf.function(
        input_signature=[tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)], autograph=False
    )
    def run(token_ids, task_id):
        return one(token_ids)["prompt"], many(token_ids, task_id=task_id)["prompt"]

    for ids in ([1], [2, 1, 0]):
        first, second = run(tf.zeros([len(ids), 5], tf.int32), tf.constant(ids))
        np.testing.assert_array_equal(first, np.stack([ONE] * len(ids)))
        np.testing.assert_array_equal(second, MANY[ids])


def test_a_functional_model_of_unknown_batch_size():
    token_ids = keras.Input([None], dtype="int32")
    task_id = keras.Input([], dtype="int32")
    output = prompt_table(2, 3, num_tasks=3, initial_value=MANY)(token_ids, task_id=task_id)["prompt"]
    shared = prompt_table(2, 3, initial_value=ONE)(token_ids)["prompt"]
    model = keras.Model([token_ids, task_id], [output, shared])

    prompts, rows = model([np.zeros((2, 5), np.int32), np.array([1, 2])])

    assert output.shape == shared.shape == (None, 2, 3)
    np.testing.assert_array_equal(prompts, MANY[[1, 2]])
    np.testing.assert_array_equal(rows, [ONE, ONE])


@pytest.mark.parametrize("policy", ["bfloat16", "mixed_bfloat16"])
@pytest.mark.parametrize("num_tasks", [None, 3])
def test_the_variable_stays_float32_under_a_low_precision_policy(policy, num_tasks):
    table = prompt_table(2, 3, num_tasks=num_tasks, dtype=policy)
    task_id = None if num_tasks is None else np.array([0, 1])

    prompts = table(np.zeros((2, 5), np.float32), task_id=task_id)["prompt"]

    assert keras.backend.standardize_dtype(prompts.dtype) == "bfloat16"
    assert keras.backend.standardize_dtype(table.variables_by_name["prompt"].dtype) == "float32"


def test_gradients_of_a_bfloat16_batch_are_summed_in_float32():
    table = prompt_table(1, 1, dtype="bfloat16", initial_value=np.ones((1, 1)))

    with tf.GradientTape() as tape:
        total = tf.reduce_sum(tf.cast(table(tf.zeros([257, 1]))["prompt"], tf.float32))

    # bfloat16 holds 256 and 258, but not 257.
    assert tape.gradient(total, table.variables_by_name["prompt"].value).numpy() == 257


def test_the_gradient_reaches_only_the_batchs_tasks_and_is_dense():
    table = prompt_table(2, 3, num_tasks=3, initial_value=MANY)

    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(table(tf.zeros([3, 5]), task_id=tf.constant([2, 0, 2]))["prompt"])
    gradient = tape.gradient(loss, table.variables_by_name["prompt"].value)

    assert isinstance(gradient, tf.Tensor)
    np.testing.assert_array_equal(gradient, np.ones((3, 2, 3)) * [[[1]], [[0]], [[2]]])


def test_the_gradient_of_one_prompt_is_the_sum_over_the_batch():
    table = prompt_table(2, 3, initial_value=ONE)
    weights = np.arange(24, dtype=np.float32).reshape(4, 2, 3)

    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(table(tf.zeros([4, 5]))["prompt"] * weights)

    np.testing.assert_array_equal(tape.gradient(loss, table.variables_by_name["prompt"].value), weights.sum(axis=0))


def test_what_rows_can_have_in_common_is_one_row_of_one_task_and_a_row_each_of_several():
    name, shape = "encoder_query_delta", (2, 1, 3)
    one, several = TaskTable({name: shape}), TaskTable({name: shape}, num_tasks=2)

    assert one(np.zeros((4, 7)))[name].shape == (1, *shape)
    assert several(np.zeros((4, 7)), task_id=np.array([1, 0, 0, 1]))[name].shape == (4, *shape)


@pytest.mark.parametrize(("num_tasks", "shape"), [(None, (2, 3)), (3, (3, 2, 3))])
def test_there_is_one_trainable_variable_named_prompt(num_tasks, shape):
    table = prompt_table(2, 3, num_tasks=num_tasks)

    assert [variable.name for variable in table.trainable_variables] == ["prompt"]
    assert table.variables_by_name["prompt"].shape == shape
    assert np.abs(table.variables_by_name["prompt"].numpy()).max() <= 0.5


@pytest.mark.parametrize("num_tasks", [None, 3])
def test_a_config_makes_the_same_layer(num_tasks):
    table = prompt_table(2, 3, num_tasks=num_tasks, name="prompts", dtype="mixed_bfloat16")

    again = keras.layers.deserialize(keras.layers.serialize(table))

    assert isinstance(again, TaskTable)
    assert again.get_config() == table.get_config()
    assert again.variables_by_name["prompt"].shape == table.variables_by_name["prompt"].shape


def test_a_saved_model_keeps_the_values(tmp_path):
    token_ids = keras.Input([None], dtype="int32")
    model = keras.Model(token_ids, prompt_table(2, 3, initial_value=ONE)(token_ids)["prompt"])
    model.save(tmp_path / "model.keras")

    again = keras.models.load_model(tmp_path / "model.keras")

    np.testing.assert_array_equal(again(np.zeros((1, 4), np.int32))[0], ONE)


def test_fit_moves_only_the_tasks_it_sees():
    token_ids, task_id = keras.Input([None], dtype="int32"), keras.Input([], dtype="int32")
    table = prompt_table(2, 3, num_tasks=3, initial_value=MANY)
    model = keras.Model([token_ids, task_id], table(token_ids, task_id=task_id)["prompt"])
    model.compile(optimizer=keras.optimizers.SGD(0.5), loss="mse")

    model.fit([np.zeros((2, 4), np.int32), np.array([1, 1])], np.zeros((2, 2, 3), np.float32), verbose=0)

    np.testing.assert_array_equal(table.variables_by_name["prompt"].numpy()[[0, 2]], MANY[[0, 2]])
    assert not np.array_equal(table.variables_by_name["prompt"].numpy()[1], MANY[1])


@pytest.mark.parametrize(("num_tasks", "task_id"), [(None, np.array([0])), (3, None)])
def test_task_ids_go_with_a_table_of_tasks(num_tasks, task_id):
    with pytest.raises(
        PromptError, match="`task_id` must be given where the table holds several tasks, and only there"
    ):
        prompt_table(2, 3, num_tasks=num_tasks)(np.zeros((1, 4)), task_id=task_id)["prompt"]


def test_an_initial_value_of_another_shape_is_an_error():
    with pytest.raises(PromptError, match=r"the shape \[3, 2, 3\]\. Received: shape \[2, 3\]"):
        prompt_table(2, 3, num_tasks=3, initial_value=ONE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 0, "hidden_dim": 3}, r"`shapes\['prompt'\]` must be a positive integer. Received: .*=0"),
        ({"length": 2, "hidden_dim": 2.5}, r"`shapes\['prompt'\]` must be a positive integer. Received: .*=2.5"),
        ({"length": 2, "hidden_dim": 3, "num_tasks": True}, "`num_tasks` must be .* Received: num_tasks=True"),
    ],
)
def test_sizes_must_be_positive_integers(arguments, message):
    with pytest.raises(PromptError, match=message):
        prompt_table(**arguments)


def test_several_variables_become_the_tensors_that_the_fold_makes_of_them():
    def fold(variables):
        return {"sum": variables["a"] + variables["b"]}

    values = {"a": np.array([[1.0, 2.0], [3.0, 4.0]]), "b": np.array([[10.0, 20.0], [30.0, 40.0]])}
    table = TaskTable({"a": (2,), "b": (2,)}, num_tasks=2, initial_values=values, fold=fold)

    rows = table(np.zeros((3, 1)), task_id=np.array([1, 0, 5]))

    assert list(rows) == ["sum"]
    np.testing.assert_array_equal(rows["sum"][:2], [[33, 44], [11, 22]])
    assert np.isnan(rows["sum"][2]).all()
    np.testing.assert_array_equal(table.tensors()["sum"], [[11, 22], [33, 44]])
