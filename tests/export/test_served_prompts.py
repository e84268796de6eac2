"""A task's prompt may be a file, a loaded prompt, the model that was just fitted, or an array; anything else is named."""

import dataclasses
import shutil

import numpy as np
import pytest

from softprompt_tf import PromptedT5, TargetCrossEntropy, init, prompt_tuning
from softprompt_tf.errors import BackboneMismatchError, ExportError
from softprompt_tf.export import add_tasks, list_tasks, write_saved_model
from softprompt_tf.export.graph.served_prompts import load_served_prompts
from softprompt_tf.export.versions.task_shards import StoredTasks

pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("asked_once")]

LABELS = ["good", "bad"]
TEXTS = ["a charming film", "a dull film"]


@pytest.fixture(scope="module")
def fitted(tiny_t5):
    model = PromptedT5(tiny_t5, prompt_tuning(3, init.random_uniform(), seed=1), labels=LABELS)
    model.compile(optimizer="adam", loss=TargetCrossEntropy())
    model.fit({"encoder_text": TEXTS, "decoder_text": LABELS}, verbose=0)
    return model


@pytest.fixture(scope="module")
def of_two_tasks(tiny_t5):
    return PromptedT5(tiny_t5, prompt_tuning(3, init.random_uniform(), task_ids=["sst2", "rte"], seed=1))


@pytest.fixture(scope="module")
def written(fitted, tiny_t5, asked_once, tmp_path_factory):
    """Version 1 of an export of the model; verified: it answers as Keras does."""
    return write_saved_model(tmp_path_factory.mktemp("written"), tiny_t5, {"s": fitted})


def test_a_model_is_served_right_after_fit_and_checked_against_keras(fitted, written):
    (stored,) = StoredTasks.read(written).prompts()
    np.testing.assert_array_equal(stored, np.asarray(fitted.prompt_variable))
    (task,) = list_tasks(written.parent)
    assert (task.task_id, task.prompt_length, task.labels) == ("s", 3, ("good", "bad"))


def test_an_array_and_a_model_are_added_to_an_export(fitted, written, tmp_path):
    shutil.copytree(written, tmp_path / "1")
    array = np.linspace(-1, 1, 32).reshape(2, 16)

    version = add_tasks(tmp_path, {"array": array, "again": fitted}, verify=False)

    stored = StoredTasks.read(version)
    assert [task.task_id for task in stored.rows] == ["s", "array", "again"]
    np.testing.assert_array_equal(stored.prompts()[1], array.astype(np.float32))
    np.testing.assert_array_equal(stored.prompts()[2], stored.prompts()[0])


def test_models_and_arrays_vote_in_a_list(fitted):
    (members,) = load_served_prompts({"s": [fitted, fitted]}).values()
    (arrays,) = load_served_prompts({"s": [np.ones((2, 4)), np.zeros((2, 4), np.float16)]}).values()

    assert [member.labels for member in members] == [("good", "bad")] * 2
    assert [member.prompt.tolist() for member in arrays] == [[[1.0] * 4] * 2, [[0.0] * 4] * 2]


def test_the_variable_of_a_model_is_an_array(fitted):
    (members,) = load_served_prompts({"s": fitted.prompt_variable}).values()

    np.testing.assert_array_equal(members[0].prompt, np.asarray(fitted.prompt_variable))


def test_a_model_of_several_tasks_gives_the_task_of_that_name(of_two_tasks):
    loaded = load_served_prompts({"rte": of_two_tasks})

    np.testing.assert_array_equal(loaded["rte"][0].prompt, np.asarray(of_two_tasks.prompt_variable)[1])


def test_a_model_of_several_tasks_is_not_served_under_another_name(of_two_tasks):
    with pytest.raises(ExportError, match="under their names: sst2, rte. Received: task 'mood'. Use one of them"):
        load_served_prompts({"mood": of_two_tasks})


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({"s": None}, "A task's prompt must be a prompt file, .*. Received: NoneType for task 's'."),
        ({"s": 3}, "Received: int for task 's'."),
        ({"s": {"prompt": 1}}, "Received: dict for task 's'."),
        ({"s": [[1.0, 2.0]]}, "Received: list for task 's'."),
        ({"s": []}, "Received: none for task 's'."),
        ({"s": np.ones(4)}, r"Task 's': `prompt` must have the shape \[P, H\].* Received: shape \[4\]."),
        ({"s": np.ones((2, 3, 4))}, r"Received: shape \[2, 3, 4\]."),
        ({"s": np.ones((0, 4))}, r"Received: shape \[0, 4\]."),
        ({"s": np.ones((2, 4), int)}, "Task 's': `prompt` must be floating. Received: dtype int64."),
        ({"s": np.full((2, 4), np.nan)}, "Task 's': `prompt` must be finite."),
        ({3: np.ones((2, 4))}, "A task id must be a string. Received: 3."),
        (["s"], r"`prompts` must map task ids to prompts. Received: list. Pass \{'my_task': prompt\}."),
        ("s.safetensors", "`prompts` must map task ids to prompts. Received: str."),
    ],
)
def test_what_is_no_prompt_is_named(prompts, message):
    with pytest.raises(ExportError, match=message):
        load_served_prompts(prompts)


def test_a_model_in_the_place_of_the_mapping_is_named(fitted, tiny_t5, tmp_path):
    with pytest.raises(ExportError, match="`prompts` must map task ids to prompts. Received: PromptedT5."):
        write_saved_model(tmp_path, tiny_t5, fitted)


def test_a_model_in_the_place_of_its_backbone_is_named(fitted, tmp_path):
    with pytest.raises(ExportError, match="`t5` must be a FrozenT5. Received: PromptedT5. Pass its `t5`."):
        write_saved_model(tmp_path, fitted, {"s": fitted})


def test_a_model_of_another_backbone_and_an_array_of_another_width_are_refused(fitted, tiny_t5, tmp_path):
    other = dataclasses.replace(fitted.task_prompt("s"), backbone_fingerprint="t5:0")

    with pytest.raises(BackboneMismatchError, match="fingerprint t5:0"):
        write_saved_model(tmp_path, tiny_t5, {"s": other})
    with pytest.raises(BackboneMismatchError, match=r"Prompt 's' was made for .* \(H=8\)"):
        write_saved_model(tmp_path, tiny_t5, {"s": np.ones((2, 8))})


def test_prompts_of_different_lengths_do_not_vote(fitted):
    with pytest.raises(ExportError, match=r"Task 's': The prompts of an ensemble must have one length"):
        load_served_prompts({"s": [fitted, np.ones((2, 16))]})
