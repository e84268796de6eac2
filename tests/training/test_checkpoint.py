"""Checkpoint files: what they hold, and what happens to damaged ones."""

import numpy as np
import pytest
import safetensors.numpy

from softprompt_tf.errors import TrainingError
from softprompt_tf.training.best_prompt import BestSoFar, Evaluation
from softprompt_tf.training.checkpoint import Checkpoint, latest_checkpoint, read_checkpoint, write_checkpoint
from softprompt_tf.training.prompt_checkpoint import PromptCheckpoint

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

    read = read_checkpoint(write_checkpoint(tmp_path / "new" / "folder", written))

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
        write_checkpoint(tmp_path, make_checkpoint(step))

    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["step-00000004.safetensors", "step-00000006.safetensors"]


def test_empty_or_missing_folder_has_no_checkpoint(tmp_path):
    assert latest_checkpoint(tmp_path) is None
    assert latest_checkpoint(tmp_path / "missing") is None


def truncate(path):
    path.write_bytes(path.read_bytes()[:-5])


def cut_to_nothing(path):
    path.write_bytes(b"")


def flip_one_bit(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def replace_by_another_format(path):
    safetensors.numpy.save_file({"prompt": PROMPT}, path)


DAMAGES = {
    truncate: "must be a whole safetensors file",
    cut_to_nothing: "must be a whole safetensors file",
    flip_one_bit: "must match its checksum",
    replace_by_another_format: "must have the format softprompt-tf-checkpoint/1. Received: .*None",
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path, damage, message):
    write_checkpoint(tmp_path, make_checkpoint(2))
    damage(write_checkpoint(tmp_path, make_checkpoint(4)))

    with pytest.warns(UserWarning, match=message):
        checkpoint = latest_checkpoint(tmp_path)

    assert checkpoint.step == 2


@pytest.mark.filterwarnings("ignore:Passing over")
def test_only_damaged_checkpoints_are_an_error(tmp_path):
    truncate(write_checkpoint(tmp_path, make_checkpoint(2)))
    truncate(write_checkpoint(tmp_path, make_checkpoint(4)))

    with pytest.raises(TrainingError, match="2 damaged ones. Delete the folder to start anew"):
        latest_checkpoint(tmp_path)


def test_frozen_weights_are_not_saved(tiny, tmp_path):
    model = tiny.make_model(dropout=0.1)
    model.optimizer.build(model.trainable_variables)
    callback = PromptCheckpoint(tmp_path, seed=0)
    callback.set_model(model)

    callback.save()

    tensors = latest_checkpoint(tmp_path).tensors
    prompt = (tiny.PROMPT_LENGTH, tiny.HIDDEN)
    assert {name: value.shape for name, value in tensors.items()} == {
        "trainable.0": prompt,
        "optimizer.0": (),
        "optimizer.1": (),
        "optimizer.2": prompt,
        "random.0": (2,),
    }
