"""Checkpoint files: what they hold, and what happens to damaged ones."""

import dataclasses
import json

import numpy as np
import pytest
import safetensors.numpy

from softprompt_tf.errors import TrainingError
from softprompt_tf.training.best_prompt import BestSoFar, Evaluation
from softprompt_tf.training.checkpoint import Checkpoint, read_checkpoint
from softprompt_tf.training.prompt_checkpoint import PromptCheckpoint
from softprompt_tf.training.saved_run import Checkpoints

PROMPT = np.arange(6, dtype="float32").reshape(2, 3)


def make_checkpoint(step):
    best = BestSoFar(
        score=0.1 + 0.2,
        step=2,
        weights=(PROMPT * 2,),
        evaluations_without_gain=1,
        history=(Evaluation(2, 0.1 + 0.2, {"f1": 0.1 + 0.2}), Evaluation(4, float("-inf"), {"f1": float("-inf")})),
    )
    tensors = {"trainable.0": PROMPT, "optimizer.0": np.asarray(step, "int64"), "optimizer.1": PROMPT.T}
    return Checkpoint(step=step, seed=3, config_digest="abc", tensors=tensors, best=best)


def test_what_was_written_is_read_again(tmp_path):
    written = make_checkpoint(4)

    read = read_checkpoint(Checkpoints(tmp_path / "new" / "folder").write(written))

    assert (read.step, read.seed, read.config_digest) == (4, 3, "abc")
    assert (read.best.score, read.best.step, read.best.evaluations_without_gain) == (0.1 + 0.2, 2, 1)
    assert read.best.history == written.best.history
    np.testing.assert_array_equal(read.best.weights, [PROMPT * 2])
    assert read.tensors.keys() == written.tensors.keys()
    for name, value in written.tensors.items():
        np.testing.assert_array_equal(read.tensors[name], value)
        assert read.tensors[name].dtype == value.dtype


def test_last_two_are_kept_and_unfinished_ones_removed(tmp_path):
    (tmp_path / ".step-00000001.safetensors.0a1b2c3d4e5f.tmp").write_bytes(b"cut short")

    for step in [2, 4, 6]:
        Checkpoints(tmp_path).write(make_checkpoint(step))

    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["step-00000004.safetensors", "step-00000006.safetensors"]


def test_empty_or_missing_folder_has_no_checkpoint(tmp_path):
    assert Checkpoints(tmp_path).newest() is None
    assert Checkpoints(tmp_path / "missing").newest() is None


def truncate(path):
    path.write_bytes(path.read_bytes()[:-5])


def cut_to_nothing(path):
    path.write_bytes(b"")


def flip_one_bit(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def change_a_name_in_the_metadata(path):
    path.write_bytes(path.read_bytes().replace(b'"config_digest"', b'"config_digits"'))


def replace_by_another_format(path):
    safetensors.numpy.save_file({"prompt": PROMPT}, path)


DAMAGES = {
    truncate: "must be a whole safetensors file",
    cut_to_nothing: "must be a whole safetensors file",
    flip_one_bit: "must match its checksum",
    change_a_name_in_the_metadata: "metadata must be as it was written. Received: .*config_digest",
    replace_by_another_format: "must have the format softprompt-tf-checkpoint/1. Received: .*None",
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path, damage, message):
    Checkpoints(tmp_path).write(make_checkpoint(2))
    damage(Checkpoints(tmp_path).write(make_checkpoint(4)))

    with pytest.warns(UserWarning, match=message):
        checkpoint = Checkpoints(tmp_path).newest()

    assert checkpoint.step == 2


@pytest.mark.filterwarnings("ignore:Passing over")
def test_only_damaged_checkpoints_are_an_error(tmp_path):
    truncate(Checkpoints(tmp_path).write(make_checkpoint(2)))
    truncate(Checkpoints(tmp_path).write(make_checkpoint(4)))

    with pytest.raises(TrainingError, match="2 damaged ones. Delete the folder to start anew"):
        Checkpoints(tmp_path).newest()


def test_frozen_weights_are_not_saved(tiny, tmp_path):
    model = tiny.make_model(dropout=0.1)
    model.optimizer.build(model.trainable_variables)
    callback = PromptCheckpoint(tmp_path, seed=0)
    callback.set_model(model)

    callback.save()

    tensors = Checkpoints(tmp_path).newest().tensors
    prompt = (tiny.PROMPT_LENGTH, tiny.HIDDEN)
    assert {name: value.shape for name, value in tensors.items()} == {
        "trainable.0": prompt,
        "optimizer.0": (),
        "optimizer.1": (),
        "optimizer.2": prompt,
        "random.0": (2,),
    }


def test_a_name_without_a_step_is_one_file_that_is_replaced(tmp_path):
    (tmp_path / ".state.safetensors.0a1b2c3d4e5f.tmp").write_bytes(b"cut short")
    (tmp_path / "other.safetensors").write_bytes(b"of another run")
    checkpoints = Checkpoints(tmp_path, name="state.safetensors")

    for step in [2, 4]:
        checkpoints.write(make_checkpoint(step))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.safetensors", "state.safetensors"]
    assert checkpoints.newest().step == 4


def test_a_name_may_hold_any_characters(tmp_path):
    checkpoints = Checkpoints(tmp_path, name="state [1] {2}.safetensors")

    path = checkpoints.write(make_checkpoint(2))

    assert path.name == "state [1] {2}.safetensors"
    assert checkpoints.newest().step == 2


def test_what_a_run_counts_and_is_defined_by_comes_back(tmp_path):
    written = dataclasses.replace(make_checkpoint(4), settings={"seed": 3}, counts={"losses": {"spans": [0.1 + 0.2]}})

    read = read_checkpoint(Checkpoints(tmp_path).write(written))

    assert (read.settings, read.counts) == ({"seed": 3}, {"losses": {"spans": [0.1 + 0.2]}})


# === Formats from before all runs had one ===


def write_state_of_model_tuning(path):
    history = [
        {"step": step, "score": score, "metrics": {"f1": score}} for step, score in [(3, 0.2), (6, 0.5), (9, 0.5)]
    ]
    progress = {"step": 9, "best_step": 6, "history": history, "seconds_per_step": 0.25, "seconds": 8.0}
    metadata = {"progress": json.dumps(progress), "run_digest": "abc", "run": json.dumps({"seed": 3})}
    tensors = {"weights/0": PROMPT, "optimizer/0": np.asarray(9, "int64"), "best/0": PROMPT * 2}
    safetensors.numpy.save_file(tensors, path, metadata)


def test_a_state_of_model_tuning_from_before_is_read(tmp_path):
    write_state_of_model_tuning(tmp_path / "state")

    read = read_checkpoint(tmp_path / "state")

    assert (read.step, read.seed, read.config_digest, read.settings) == (9, None, "abc", {"seed": 3})
    assert (read.best.score, read.best.step, read.best.evaluations_without_gain) == (0.5, 6, 1)
    assert read.best.history[0] == Evaluation(3, 0.2, {"f1": 0.2})
    np.testing.assert_array_equal(read.best.weights, [PROMPT * 2])
    assert read.counts == {"seconds_per_step": 0.25, "seconds": 8.0}
    assert read.tensors.keys() == {"trainable.0", "optimizer.0"}
    np.testing.assert_array_equal(read.tensors["trainable.0"], PROMPT)


def test_a_state_of_pretraining_from_before_is_read(tmp_path):
    metadata = {"step": "9", "num_tokens": "1234"}
    safetensors.numpy.save_file({"weights/0": PROMPT, "optimizer/0": PROMPT.T.copy()}, tmp_path / "state", metadata)

    read = read_checkpoint(tmp_path / "state")

    assert (read.step, read.seed, read.config_digest, read.settings) == (9, None, "", {})
    assert read.counts == {"num_tokens": 1234}
    assert (read.best.step, read.best.weights, read.best.history) == (None, (), ())
    np.testing.assert_array_equal(read.tensors["trainable.0"], PROMPT)
    np.testing.assert_array_equal(read.tensors["optimizer.0"], PROMPT.T)
