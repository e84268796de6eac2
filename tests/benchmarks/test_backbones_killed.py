"""A comparison trains the tiny T5 for real, is killed on its way, and ends as one that was not."""

import json

import pytest
from tiny_run import write_preset, write_tasks, write_yaml

from softprompt_tf.config import load_config
from softprompt_tf.experiments import prompt_tuner, results
from softprompt_tf.runs.run import train_run
from softprompt_tf.training import checkpoint

pytestmark = pytest.mark.slow

TRAINING = {"training.steps": 4, "training.batch_size": 4, "training.evaluate_every": 2, "training.checkpoint_every": 2}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A preset, configs whose task mood has its validation rows as test rows too, and a comparison's file."""
    pytest.importorskip("matplotlib")
    directory = tmp_path_factory.mktemp("comparison")
    (directory / "configs" / "tasks").mkdir(parents=True)
    write_preset(directory / "tiny")
    write_tasks(directory / "configs" / "tasks")
    write_yaml(directory / "configs" / "defaults.yaml", {})
    rows = str(directory / "configs" / "tasks" / "mood_dev.jsonl")
    values = {
        "arms": [{"name": "tiny", "backbone": str(directory / "tiny")}],
        "tasks": ["mood"],
        "seeds": [1],
        "overrides": {"prompt.length": 3, "prompt.init": "sampled_vocabulary", "task.test": rows, **TRAINING},
        "model_tuning": {"steps": 4, "batch_size": 4, "learning_rate": 0.01, "warmup_steps": 1, "evaluate_every": 2},
    }
    write_yaml(directory / "comparison.yaml", values)
    return directory


@pytest.fixture(scope="module")
def run(backbones_script, comparison_script, place):
    """Give the command with an output and return its status and the runs of its report, without their times."""

    def command(output):
        status = backbones_script.main([str(place / "comparison.yaml"), "--output", str(output)])
        path = output / "results.json"
        runs = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        return status, [{**each, "seconds": 0.0} for each in runs]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison_script, "CONFIGS", place / "configs")
        yield command


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    """What a comparison returns that was not killed."""
    return run(tmp_path_factory.mktemp("whole"))


def test_the_prompts_accuracies_are_those_of_a_training_run(whole, place, tmp_path):
    overrides = [f"{key}={value}" for key, value in TRAINING.items()]
    overrides += ["prompt.length=3", "prompt.init=sampled_vocabulary", "seed=1", f"output_dir={tmp_path / 'alone'}"]
    overrides += [f"task={place / 'configs' / 'tasks' / 'mood.yaml'}", f"backbone={place / 'tiny'}"]
    alone = train_run(load_config(place / "configs" / "defaults.yaml", overrides))

    status, (prompt, tuned) = whole

    assert status == 0
    assert (prompt["method"], tuned["method"]) == ("prompt tuning", "model tuning")
    assert prompt["accuracy"] == alone.scores["mood"].metrics["accuracy"]
    assert (prompt["test_accuracy"], tuned["test_accuracy"]) == (prompt["accuracy"], tuned["accuracy"])  # the same rows


@pytest.mark.parametrize("kill_at", [5])
def test_a_killed_comparison_goes_on_and_ends_as_one_that_was_not(run, whole, tmp_path, monkeypatch, kill_at):
    """Killed at one of the writes to the disk: of a checkpoint's time, a state, a record or a result."""
    writes = []

    def counted(write):
        def wrapper(path, *arguments, **keywords):
            writes.append(path)
            if len(writes) == kill_at:
                raise KeyboardInterrupt
            return write(path, *arguments, **keywords)

        return wrapper

    with monkeypatch.context() as patch:
        for module in (prompt_tuner, results, checkpoint):
            patch.setattr(module, "write_atomically", counted(module.write_atomically))
        assert run(tmp_path) == (130, [])

    assert run(tmp_path) == whole
