"""`softprompt adapt`, killed with SIGKILL at random steps and started again: its end is that of a run left alone."""

import json
import math
import os
import random
import signal

import numpy as np
import pytest
import safetensors.numpy
from forked_processes import COMMAND

from softprompt_tf.backbones import write_preset
from softprompt_tf.pretraining.backbone import BackboneShape, build_backbone

pytestmark = pytest.mark.thorough

STEPS = 40
SHAPE = BackboneShape(
    vocabulary_size=180, hidden_dim=16, intermediate_dim=24, num_layers=1, num_heads=2, key_value_dim=8
)


@pytest.fixture(scope="module")
def command(corpus, vocabulary, tmp_path_factory):
    """Return the words of the command, all but the output directory."""
    directory = tmp_path_factory.mktemp("adapt")
    write_preset(build_backbone(SHAPE, dtype="float32", seed=1), vocabulary, directory / "tiny", dtype="float32")
    documents = [document for kind in corpus.documents for document in kind]
    (directory / "text.txt").write_text("\n".join(documents * 3), encoding="utf-8")
    (directory / "measured.txt").write_text("\n".join(documents[:9]), encoding="utf-8")
    return [
        "adapt", str(directory / "tiny"),
        "--text", str(directory / "text.txt"), "--steps", str(STEPS), "--learning-rate", "0.02", "--warmup-steps", "4",
        "--cooldown-steps", "8", "--batch-size", "8", "--window", "24", "--checkpoint-every", "3", "--log-every", "1",
        "--measure-every", "10", "--measure-text", str(directory / "measured.txt"), "--measure-documents", "4", "--output",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def run(command, forked):
    """A function: run the command to its end, or kill it once it has told of step `kill_at`."""

    def run(output, *, kill_at=None):
        for process, line in forked.lines_of(COMMAND, *command, output):
            if kill_at is not None and line.startswith("{") and json.loads(line)["step"] >= kill_at:
                os.kill(process, signal.SIGKILL)
                kill_at = math.inf
        assert line == f"ended {0 if kill_at is None else -signal.SIGKILL}\n", forked.errors()

    return run


@pytest.fixture(scope="module")
def left_alone(run, tmp_path_factory):
    output = tmp_path_factory.mktemp("left_alone") / "run"
    run(output)
    return output


def log_of(output):
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text("utf-8").splitlines()]
    return [{name: value for name, value in line.items() if name != "tokens_per_s"} for line in lines]


def assert_killed_run_ends_alike(run, left_alone, output, steps):
    for step in steps:
        run(output, kill_at=step)
    run(output)

    found, expected = (
        safetensors.numpy.load_file(directory / "state.safetensors") for directory in (output, left_alone)
    )
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert log_of(output) == log_of(left_alone)
    assert [line["step"] for line in log_of(output) if "loss" in line] == list(range(1, STEPS + 1))
    assert [line["step"] for line in log_of(output) if "bits_per_byte" in line] == [0, 10, 20, 30, 40]


@pytest.mark.slow
def test_a_run_killed_before_its_first_state_and_later_ends_as_one_left_alone(run, left_alone, tmp_path):
    assert_killed_run_ends_alike(run, left_alone, tmp_path / "run", [1, 17])


@pytest.mark.slow
def test_a_run_killed_ten_times_ends_as_one_left_alone(run, left_alone, tmp_path):
    steps = sorted(random.Random(3).sample(range(1, STEPS), 10))

    assert_killed_run_ends_alike(run, left_alone, tmp_path / "run", steps)
