"""The prompt methods and the first value of their tables."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.errors import PromptError
from softprompt_tf.methods import METHODS, PromptMethod, Vocabulary, init, lora, prompt_tuning

SIZES = BackboneSizes(hidden_dim=4, encoder_layers=3, decoder_layers=2, num_heads=2, head_dim=5)


@pytest.fixture
def vocabulary():
    return Vocabulary(
        embeddings=np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32), tokenize=lambda text: [len(text)]
    )


@pytest.mark.parametrize("name", METHODS)
def test_a_method_names_its_row(name):
    method = METHODS[name].make()

    assert isinstance(method, PromptMethod)
    assert method.name == name


def test_the_defaults_of_prompt_tuning():
    method = prompt_tuning()

    assert (method.length, method.task_ids, method.num_tasks) == (20, None, None)
    assert method.init == init.sampled_vocabulary(5000)


def test_the_first_values_follow_the_seed_of_keras_unless_there_is_one(vocabulary):
    def value(keras_seed, **settings):
        keras.utils.set_random_seed(keras_seed)
        return prompt_tuning(6, **settings).start(vocabulary, SIZES)["prompt"]

    np.testing.assert_array_equal(value(1), value(1))
    assert not np.array_equal(value(1), value(2))
    np.testing.assert_array_equal(value(1, seed=5), value(2, seed=5))


def test_a_method_is_frozen_and_compares_by_value():
    assert prompt_tuning(5, seed=1) == prompt_tuning(5, seed=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        prompt_tuning().length = 3


def test_the_initial_value_of_one_prompt_is_its_initializers(vocabulary):
    value = prompt_tuning(6, seed=4).start(vocabulary, SIZES)["prompt"]

    assert value.dtype == np.float32
    np.testing.assert_array_equal(value, init.sampled_vocabulary()(vocabulary)(4, (6, 4)))


def test_tasks_start_apart_and_the_first_as_a_single_prompt(vocabulary):
    value = prompt_tuning(6, task_ids=["a", "b", "c"], seed=4).start(vocabulary, SIZES)["prompt"]

    assert value.shape == (3, 6, 4)
    np.testing.assert_array_equal(value[0], prompt_tuning(6, seed=4).start(vocabulary, SIZES)["prompt"])
    assert not np.array_equal(value[0], value[1])
    assert not np.array_equal(value[1], value[2])


def test_a_further_task_leaves_the_others_as_they_are(vocabulary):
    two = prompt_tuning(6, task_ids=["a", "b"], seed=3).start(vocabulary, SIZES)["prompt"]
    three = prompt_tuning(6, task_ids=["a", "b", "c"], seed=3).start(vocabulary, SIZES)["prompt"]

    np.testing.assert_array_equal(three[:2], two)


def test_task_1_of_a_seed_is_not_task_0_of_the_next_seed(vocabulary):
    first = prompt_tuning(6, task_ids=["a", "b"], seed=0).start(vocabulary, SIZES)["prompt"]
    second = prompt_tuning(6, task_ids=["a", "b"], seed=1).start(vocabulary, SIZES)["prompt"]

    assert not np.array_equal(first[1], second[0])


def test_each_task_may_have_its_own_initializer(vocabulary):
    inits = {"b": init.from_array(np.ones((3, 4))), "a": init.class_labels(["xx", "yyy"])}

    value = prompt_tuning(3, inits, task_ids=["a", "b"]).start(vocabulary, SIZES)["prompt"]

    np.testing.assert_array_equal(value[0, :2], vocabulary.embeddings[[2, 3]])
    np.testing.assert_array_equal(value[1], np.ones((3, 4)))


def test_any_function_of_the_form_is_an_initializer(vocabulary):
    value = prompt_tuning(3, lambda vocabulary: lambda seed, shape: np.full(shape, seed), seed=9)

    np.testing.assert_array_equal(value.start(vocabulary, SIZES)["prompt"], np.full((3, 4), 9))


def test_an_initializer_of_the_wrong_shape_is_an_error(vocabulary):
    method = prompt_tuning(3, lambda vocabulary: lambda seed, shape: np.ones(4))

    with pytest.raises(PromptError, match=r"`init` must return finite rows \[3, 4\]\. Received: shape \[4\]"):
        method.start(vocabulary, SIZES)


def test_numbers_of_numpy_are_numbers():
    rank, alpha, seed = np.array([4, 3, 1])
    method = lora(rank, alpha=np.float32(alpha), seed=seed)

    assert method == lora(4, alpha=3.0, seed=1)
    assert json.loads(json.dumps(method.settings())) == method.settings()  # as a saved model has them


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 0}, r"`length` must be a positive integer\. Received: length=0"),
        ({"length": True}, r"`length` must be a positive integer\. Received: length=True"),
        ({"length": "20"}, r"`length` must be a positive integer\. Received: length='20'"),
        ({"seed": -1}, r"`seed` must be an integer, 0 or more\. Received: seed=-1"),
        ({"seed": 1.5}, r"`seed` must be an integer, 0 or more\. Received: seed=1\.5"),
        ({"task_ids": "sst2"}, r"`task_ids` must be a list of strings\. Received: task_ids='sst2'"),
        ({"task_ids": []}, r"`task_ids` must be non-empty strings\. Received: task_ids=\(\)"),
        ({"task_ids": ["a", ""]}, r"`task_ids` must be non-empty strings"),
        ({"task_ids": ["a", "b", "a"]}, r"`task_ids` must differ from each other"),
        ({"init": "class_labels"}, r"`init` must be an initializer\. Received: init='class_labels'.*`init\.from_name`"),
        ({"init": {"a": init.random_uniform()}}, r"one entry for each of `task_ids`.*entries \['a'\], task_ids \[\]"),
        (
            {"init": {"a": init.random_uniform()}, "task_ids": ["a", "b"]},
            r"one entry for each of `task_ids`\. Received: entries \['a'\], task_ids \['a', 'b'\]",
        ),
        ({"init": {"a": None}, "task_ids": ["a"]}, r"`init` must be an initializer\. Received: init=None"),
    ],
)
def test_wrong_settings_are_errors(arguments, message):
    with pytest.raises(PromptError, match=message):
        prompt_tuning(**arguments)
