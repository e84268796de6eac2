"""Every method with its defaults: what trains, the slope of the loss, and the file that it leaves."""

import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf
from finite_differences import two_rows
from tiny_t5 import make_tiny_t5

import softprompt_tf as sp
from softprompt_tf.errors import BackboneMismatchError, PromptFileError
from softprompt_tf.methods import METHODS
from softprompt_tf.methods.family.method_config import TaskStart

LABELS = ("yes", "no")
LABEL_IDS = tf.constant([[1], [2]])  # targets where labels have rows of their own


@pytest.fixture(scope="module")
def other_t5():
    return make_tiny_t5(num_layers=1, seed=9)


@pytest.fixture(scope="module", params=METHODS)
def model(request, one_layer_t5):
    """The method as `method: NAME` alone gives it, with drawn values, as some start at 0."""
    method = METHODS[request.param].config(method=request.param).make([TaskStart("mood", LABELS)], seed=5)
    made = sp.PromptedT5(one_layer_t5, method, labels=list(LABELS))
    rng = np.random.default_rng(3)
    for variable in made.trainable_variables:
        variable.assign(variable + 0.1 * rng.normal(size=variable.shape))
    return made


def targets_of(model):
    return LABEL_IDS if "label_rows" in model.task_tensors() else two_rows()[1]


def loss_of(model):
    return sp.TargetCrossEntropy()(targets_of(model), model(two_rows()[0], training=True))


def logits_of(model):
    return np.asarray(model(two_rows()[0]))


def test_a_name_alone_gives_the_defaults(model):
    default = METHODS[model.method.name].make(seed=5)

    assert (model.method.seed, model.method.length) == (5, default.length)
    if model.method.name not in (
        "warp",
        "late_prompts",
    ):  # which know the labels, or the size of the T5's states, by now
        assert model.method.settings() == default.settings()


def test_it_can_be_pickled(model):
    assert pickle.loads(pickle.dumps(model.method)) == model.method


def test_gradients_reach_all_that_trains_and_are_slopes(model):
    variables = model.trainable_variables
    with tf.GradientTape() as tape:
        loss = loss_of(model)
    gradients = [np.asarray(gradient) for gradient in tape.gradient(loss, [each.value for each in variables])]

    assert all(np.any(gradient) for gradient in gradients)
    place = max(range(len(gradients)), key=lambda k: np.abs(gradients[k]).max())
    entry = np.unravel_index(np.abs(gradients[place]).argmax(), gradients[place].shape)
    assert abs(gradients[place][entry]) > 0.02
    assert slope(model, variables[place], entry) == pytest.approx(gradients[place][entry], rel=0.03)


def test_a_step_moves_all_that_trains_and_nothing_else(model):
    own = model.prompt_table.variables_by_name
    before, frozen = values_of(own.values()), values_of(model.t5.backbone.weights)
    model.compile(keras.optimizers.SGD(0.1), sp.TargetCrossEntropy(), run_eagerly=True)

    model.train_on_batch(two_rows()[0], targets_of(model))

    moved = {
        name for name, value, now in zip(own, before, values_of(own.values()), strict=True) if np.any(value != now)
    }
    assert moved == set(own) - set(model.method.frozen_variables)
    for value, now in zip(frozen, values_of(model.t5.backbone.weights), strict=True):
        np.testing.assert_array_equal(now, value)


def values_of(variables):
    return [variable.numpy() for variable in variables]


def slope(model, variable, entry, step=1e-2):
    """Return the difference quotient of the loss in one entry of a variable."""
    before, losses = variable.numpy(), []
    for sign in (1, -1):
        moved = before.copy()
        moved[entry] += sign * step
        variable.assign(moved)
        losses.append(float(loss_of(model)))
    variable.assign(before)
    return (losses[0] - losses[1]) / (2 * step)


def test_its_file_answers_with_the_same_bits_and_is_refused_where_it_is_cut_or_elsewhere(tmp_path, model, other_t5):
    path = tmp_path / "it.safetensors"
    model.save_prompt(path, task_id="it")

    task = sp.load_prompt(path)

    assert (task.method, task.labels) == (model.method.name, LABELS)
    np.testing.assert_array_equal(logits_of(sp.PromptedT5(model.t5, task)), logits_of(model))
    with pytest.raises(BackboneMismatchError, match="fingerprint"):
        sp.PromptedT5(other_t5, task)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(PromptFileError, match="must be a whole safetensors file"):
        sp.load_prompt(path)
