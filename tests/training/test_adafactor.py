"""Adafactor against a NumPy twin of T5X's rule."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from softprompt_tf.errors import ConfigError
from softprompt_tf.methods import TaskTable
from softprompt_tf.training.adafactor import Adafactor

STEPS = 6
SHAPES = {
    "vector": (7,),
    "prompt of length 100": (100, 130),
    "factored": (130, 128),
    "factored, wide": (128, 140),
    "one side below 128": (127, 200),
    "square": (128, 128),
}


def numpy_adafactor(value, gradients, *, rate=0.3, initial_step=0, weight_decay_rate=1e-5, clip=1.0):
    """Yield the value after each step, in float64; one array of rank 1 or 2."""
    value = value.astype("float64")
    factored = value.ndim == 2 and min(value.shape) >= 128
    v, v_rows, v_columns = np.zeros(value.shape), np.zeros(value.shape[0]), np.zeros(value.shape[-1])
    for count, gradient in enumerate(gradients):
        gradient = gradient.astype("float64")
        mixing = float(count + initial_step + 1) ** -0.8
        squared = gradient**2 + 1e-30
        if factored:
            v_rows = (1 - mixing) * v_rows + mixing * squared.mean(axis=1)
            v_columns = (1 - mixing) * v_columns + mixing * squared.mean(axis=0)
            v = np.outer(v_rows, v_columns) / v_rows.mean()
        else:
            v = (1 - mixing) * v + mixing * squared
        update = gradient / np.sqrt(v)
        update = update / max(1.0, np.sqrt(np.mean(update**2)) / clip)
        value = (1 - weight_decay_rate) * value - rate * update
        yield value


def random_problem(shape, seed=0):
    rng = np.random.default_rng(seed)
    scales = rng.uniform(0.01, 2.0, size=STEPS)
    gradients = [(rng.normal(size=shape) * scale).astype("float32") for scale in scales]
    return rng.normal(size=shape).astype("float32"), gradients


def run(optimizer, value, gradients):
    """Return the values after each step, under one tf.function."""
    variable = keras.Variable(value)
    step = tf.function(lambda gradient: optimizer.apply([gradient], [variable]))
    optimizer.build([variable])
    values = []
    for gradient in gradients:
        step(tf.constant(gradient))
        values.append(variable.numpy())
    return values


@pytest.mark.parametrize("initial_step", [0, 1_100_000])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_every_step_equals_the_numpy_twin(shape, initial_step):
    value, gradients = random_problem(shape)

    values = run(Adafactor(initial_step=initial_step), value, gradients)

    for actual, expected in zip(values, numpy_adafactor(value, gradients, initial_step=initial_step), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=1e-6)


def test_eager_and_tf_function_agree():
    value, gradients = random_problem((20, 16))
    variable, optimizer = keras.Variable(value), Adafactor()

    for gradient in gradients:
        optimizer.apply([tf.constant(gradient)], [variable])

    np.testing.assert_allclose(variable.numpy(), run(Adafactor(), value, gradients)[-1], rtol=1e-6)


def test_settings_reach_the_rule():
    value, gradients = random_problem((20, 16))
    optimizer = Adafactor(0.05, weight_decay_rate=0.01, clipping_threshold=0.5)

    values = run(optimizer, value, gradients)

    *_, expected = numpy_adafactor(value, gradients, rate=0.05, weight_decay_rate=0.01, clip=0.5)
    np.testing.assert_allclose(values[-1], expected, rtol=1e-5, atol=1e-6)


def test_restored_counter_makes_every_update_as_large_as_the_rate():
    value, gradients = random_problem((20, 16))
    optimizer = Adafactor(0.3, initial_step=1_100_000, weight_decay_rate=0.0)

    values = [value, *run(optimizer, value, gradients)]

    sizes = [np.sqrt(np.mean((new - old) ** 2)) for old, new in itertools.pairwise(values)]
    np.testing.assert_allclose(sizes, 0.3, rtol=1e-5)


@pytest.mark.parametrize("rate", [0.3, 0.003])
def test_weight_decay_does_not_depend_on_the_rate(rate):
    value = np.full((2, 3), 4.0, "float32")
    gradient = np.zeros((2, 3), "float32")

    values = run(Adafactor(rate, weight_decay_rate=0.25), value, [gradient, gradient])

    np.testing.assert_allclose(values[-1], np.full((2, 3), 4.0 * 0.75 * 0.75), rtol=1e-6)


def test_learning_rate_schedule_is_followed_from_step_zero():
    value, gradients = random_problem((20, 16))
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.3, 0.0])
    optimizer = Adafactor(schedule, initial_step=1_100_000, weight_decay_rate=0.0)

    values = run(optimizer, value, gradients)

    first = next(numpy_adafactor(value, gradients, initial_step=1_100_000, weight_decay_rate=0.0))
    np.testing.assert_allclose(values[0], first, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(values[-1], values[0])


@pytest.mark.parametrize("shape", [(20, 16), (130, 128)], ids=["whole", "factored"])
def test_prompts_of_several_tasks_move_as_if_alone(shape):
    problems = [random_problem(shape, seed) for seed in range(3)]
    value = np.stack([value for value, _ in problems])
    gradients = [np.stack(rows) for rows in zip(*(rows for _, rows in problems), strict=True)]

    values = run(Adafactor(), value, gradients)

    for task, (own_value, own_gradients) in enumerate(problems):
        *_, expected = numpy_adafactor(own_value, own_gradients)
        np.testing.assert_allclose(values[-1][task], expected, rtol=2e-5, atol=1e-6)


TASK_SHAPES = {  # of one task
    "number": (),
    "vector": (7,),
    "wide vector": (200,),
    "matrix": (130, 128),
    "LoRA": (2, 3, 140),
    "keys and values": (5, 2, 2, 3, 6),
}


def twin_of_one(value, gradients):
    """Return the last value of what one task trains: rank 3 is prompts that move apart, as without tasks."""
    if value.ndim == 3:
        columns = zip(value, np.stack(gradients).swapaxes(0, 1), strict=True)
        return np.stack([twin_of_one(*column) for column in columns])
    *_, last = numpy_adafactor(value.reshape(value.shape or 1), [g.reshape(g.shape or 1) for g in gradients])
    return last.reshape(value.shape)


@pytest.mark.parametrize("shape", TASK_SHAPES.values(), ids=TASK_SHAPES.keys())
def test_tasks_of_a_table_move_as_if_alone_whatever_a_method_trains(shape):
    problems = [random_problem((*shape,), seed) for seed in range(3)]
    values = {"it": np.stack([value for value, _ in problems])}
    table = TaskTable({"it": shape}, num_tasks=3, initial_values=values)
    optimizer, variable = Adafactor(), table.variables_by_name["it"]
    optimizer.build([variable])
    step = tf.function(lambda gradient: optimizer.apply([gradient], [variable]))

    for rows in zip(*(gradients for _, gradients in problems), strict=True):
        step(tf.constant(np.stack(rows)))

    for task, problem in enumerate(problems):
        np.testing.assert_allclose(variable.numpy()[task], twin_of_one(*problem), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("shape", TASK_SHAPES.values(), ids=TASK_SHAPES.keys())
def test_a_task_of_a_table_that_is_not_in_the_batch_stays(shape):
    (value, gradients), absent = random_problem((2, *shape)), np.zeros(shape, "float32")
    table = TaskTable({"it": shape}, num_tasks=2, initial_values={"it": value})
    optimizer, variable = Adafactor(weight_decay_rate=0.1), table.variables_by_name["it"]
    optimizer.apply([tf.constant(gradients[0])], [variable])
    before = [array.numpy()[0] for array in [variable, *optimizer.variables[2:]]]

    optimizer.apply([tf.constant(np.stack([absent, gradients[1][1]]))], [variable])

    for old, new in zip(before, [variable, *optimizer.variables[2:]], strict=True):
        np.testing.assert_array_equal(new.numpy()[0], old)
    assert np.all(variable.numpy()[1] != value[1])


def test_variables_that_tasks_share_have_no_axis_of_tasks():
    value, gradients = random_problem((20, 16))
    table = TaskTable({"it": (20, 16)}, num_tasks=3, shared=["it"], initial_values={"it": value})

    optimizer, variable = Adafactor(), table.variables_by_name["it"]
    for gradient in gradients:
        optimizer.apply([tf.constant(gradient)], [variable])

    *_, expected = numpy_adafactor(value, gradients)
    np.testing.assert_allclose(variable.numpy(), expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 20, 16), (2, 130, 128)], ids=["whole", "factored"])
def test_prompt_without_gradient_keeps_value_and_slots(shape):
    value, gradients = random_problem(shape)
    absent = gradients[1].copy()
    absent[0] = 0.0
    optimizer = Adafactor(weight_decay_rate=0.1)
    variable = keras.Variable(value)
    optimizer.apply([tf.constant(gradients[0])], [variable])
    before = [array.numpy() for array in [variable, *optimizer.variables[2:]]]

    optimizer.apply([tf.constant(absent)], [variable])

    for old, array in zip(before, [variable, *optimizer.variables[2:]], strict=True):
        np.testing.assert_array_equal(array.numpy()[0], old[0])
        assert np.any(array.numpy()[1] != old[1])


@pytest.mark.parametrize(
    ("shape", "slots"),
    [
        ((100, 512), [(100, 512)]),
        ((150, 512), [(150,), (512,)]),
        ((512, 150), [(150,), (512,)]),
        ((3, 100, 512), [(3, 100, 512)]),
        ((200, 100, 512), [(200, 100, 512)]),
        ((3, 150, 512), [(3, 150), (3, 512)]),
        ((512,), [(512,)]),
    ],
    ids=str,
)
def test_slot_shapes(shape, slots):
    optimizer = Adafactor()
    optimizer.build([keras.Variable(np.zeros(shape, "float32"))])

    assert [tuple(slot.shape) for slot in optimizer.variables[2:]] == slots


def test_bfloat16_prompt_has_float32_slots():
    variable = keras.Variable(np.ones((4, 8)), dtype="bfloat16")
    optimizer = Adafactor()

    optimizer.apply([tf.ones((4, 8), "bfloat16")], [variable])

    assert variable.dtype == "bfloat16"
    assert optimizer.variables[2].dtype == "float32"
    np.testing.assert_allclose(tf.cast(variable.value, "float32"), np.full((4, 8), 0.7), atol=4e-3)


def test_config_round_trip():
    optimizer = Adafactor(0.1, decay_rate=0.7, weight_decay_rate=0.0, clipping_threshold=2.0, initial_step=7)

    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))

    assert isinstance(again, Adafactor)
    assert again.get_config() == optimizer.get_config()
    assert again.initial_step == 7


def test_schedule_round_trip():
    optimizer = Adafactor(keras.optimizers.schedules.CosineDecay(0.3, 100))

    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))

    assert again.get_config() == optimizer.get_config()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decay_rate": 0.0}, "`decay_rate` must be above 0 and at most 1. Received: decay_rate=0.0"),
        ({"clipping_threshold": -1.0}, "`clipping_threshold` must be above 0"),
        ({"weight_decay_rate": 1.0}, r"`weight_decay_rate` must lie in \[0, 1\)"),
        ({"initial_step": -1}, "`initial_step` must not be negative. Received: initial_step=-1"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Adafactor(**settings)
