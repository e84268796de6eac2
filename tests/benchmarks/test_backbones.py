"""A comparison makes every run once, goes on where it was killed, and never mixes runs of different settings."""

import json

import pytest
import yaml
from tiny_run import write_tasks, write_yaml

from softprompt_tf.errors import ConfigError, TrainingError

VALUES = {
    "arms": [{"name": "a", "backbone": "some/preset"}, {"name": "b", "backbone": "mini", "label": "Arm B"}],
    "tasks": ["mood"],
    "seeds": [1, 2],
    "overrides": {"training.steps": 6, "prompt.length": 4, "training.weight_decay": 1e-5},
}
# Of mood's 8 validation rows, 5 are negative: two of "book" and three of "chair".
MAJORITY = 5 / 8


@pytest.fixture
def script(backbones_script, monkeypatch, tmp_path):
    """The script, on a directory of configs whose only task has two labels and no test rows."""
    configs = tmp_path / "configs"
    (configs / "tasks").mkdir(parents=True)
    write_tasks(configs / "tasks")
    write_yaml(configs / "defaults.yaml", {"training": {"steps": 30_000, "batch_size": 32}})
    monkeypatch.setattr(backbones_script, "CONFIGS", configs)
    monkeypatch.setattr(backbones_script, "_forget_last_run", lambda: None)  # the tests' other models are to stay
    return backbones_script


@pytest.fixture
def trained(script, monkeypatch):
    """Put a stand-in for the training, which notes each run and writes what a run writes; return the notes."""
    notes = []

    def train(config):
        notes.append((config.output_dir, config.seed))
        metrics = {
            "validation": {"mood": {"accuracy": 0.75}},
            "best_step": 3,
            "steps_done": 6,
            "seconds_per_step": 0.5,
            "history": [{"step": s, "score": a, "metrics": {"accuracy": a}} for s, a in ((3, 0.75), (6, 0.5))],
        }
        script.write_json(script.Path(config.output_dir) / "metrics.json", metrics)

    monkeypatch.setattr(script, "train_run", train)
    monkeypatch.setattr(script, "tune_model", lambda config, settings: train(config))
    return notes


def read(script, tmp_path, **changes):
    return script.read_comparison(write_yaml(tmp_path / "comparison.yaml", {**VALUES, **changes}))


def jobs_of(script, tmp_path, **changes):
    return list(script.jobs(read(script, tmp_path, **changes), tmp_path / "out"))


# === Which runs there are ===


def test_there_is_a_run_for_each_task_seed_and_arm_in_a_directory_of_its_own(script, tmp_path):
    found = jobs_of(script, tmp_path)

    assert [(job.arm, job.config.seed, job.config.backbone) for job in found] == [
        ("a", 1, "some/preset"),
        ("b", 1, "mini"),
        ("a", 2, "some/preset"),
        ("b", 2, "mini"),
    ]
    assert found[0].directory == tmp_path / "out" / "a" / "mood" / "prompt-1"
    assert len({job.directory for job in found}) == 4


def test_overrides_of_a_task_lie_on_those_of_all(script, tmp_path):
    (job, *_) = jobs_of(script, tmp_path, task_overrides={"mood": {"training.steps": 9, "task.max_input_tokens": 12}})

    assert (job.config.training.steps, job.config.training.batch_size, job.config.prompt.length) == (9, 32, 4)
    assert job.config.training.weight_decay == 1e-5
    assert job.config.tasks[0].max_input_tokens == 12


def test_only_arms_that_ask_for_it_write_a_sentinel(script, tmp_path):
    arms = [{"name": "a", "backbone": "mini", "target_format": "sentinel"}, {"name": "b", "backbone": "mini"}]

    first, second = jobs_of(script, tmp_path, arms=arms, seeds=[1])

    assert (first.config.tasks[0].target_format, second.config.tasks[0].target_format) == ("sentinel", "text")


def test_model_tuning_comes_last_with_seeds_and_settings_of_its_own(script, tmp_path):
    found = jobs_of(
        script,
        tmp_path,
        model_tuning={"steps": 5, "warmup_steps": 2},
        model_tuning_seeds=[7],
        task_overrides={"mood": {"model_tuning.steps": 8}},
    )

    assert [(job.method, job.config.seed) for job in found[4:]] == [("model tuning", 7), ("model tuning", 7)]
    assert (found[4].tuning.steps, found[4].tuning.warmup_steps, found[4].tuning.batch_size) == (8, 2, 32)
    assert found[4].config.training.steps == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeeds": [1]}, "`seeeds` in .*: Extra inputs are not permitted. Received: \\(1,\\)."),
        ({"tasks": []}, "`tasks` in .*at least 1 item"),
        ({"arms": [VALUES["arms"][0]] * 2}, "Every arm must have a name of its own."),
        ({"task_overrides": {"moood": {}}}, "A name must be one of mood. Received: 'moood'."),
        ({"task_overrides": {"mood": {"model_tuning.stepps": 1}}}, "`stepps` in .*Extra inputs are not permitted."),
        ({"overrides": {"training.stepps": 1}}, "Unknown key `training.stepps`"),
    ],
)
def test_a_mistake_in_the_file_is_named(script, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        jobs_of(script, tmp_path, **changes)


# === Making them ===


def test_a_run_says_how_it_did(script, trained, tmp_path):
    (job, *_) = jobs_of(script, tmp_path)

    run = script.make_run(job)

    assert (run.arm, run.task, run.method, run.seed) == ("a", "mood", "prompt tuning", 1)
    assert (run.accuracy, run.last_accuracy, run.best_step, run.steps) == (0.75, 0.5, 3, 6)
    assert (run.majority, run.num_rows, run.test_accuracy) == (MAJORITY, 8, None)


def test_a_finished_run_is_not_made_again(script, trained, tmp_path, capsys):
    found = jobs_of(script, tmp_path)
    assert script.run_all(found[:1])
    assert script.run_all(found)

    assert len(trained) == 4
    assert capsys.readouterr().out.count("finished before") == 1


def test_a_run_that_was_killed_after_its_training_is_not_trained_again(script, trained, tmp_path):
    (job, *_) = jobs_of(script, tmp_path)
    script.make_run(job)
    (job.directory / "result.json").unlink()

    assert script.make_run(job).accuracy == 0.75
    assert len(trained) == 1


def test_a_directory_with_a_run_of_other_settings_is_refused(script, trained, tmp_path):
    script.make_run(jobs_of(script, tmp_path)[0])
    other = jobs_of(script, tmp_path, overrides={"training.steps": 7})[0]

    with pytest.raises(ConfigError, match="must hold a run of the same settings.*a/mood/prompt-1"):
        script.make_run(other)


def test_settings_may_change_as_long_as_nothing_was_trained(script, trained, monkeypatch, tmp_path):
    def fail(config):
        raise TrainingError("No.")

    with monkeypatch.context() as patch:
        patch.setattr(script, "train_run", fail)
        assert not script.run_all(jobs_of(script, tmp_path)[:1])

    assert script.make_run(jobs_of(script, tmp_path, overrides={"training.steps": 7})[0]).accuracy == 0.75


def test_a_run_that_fails_does_not_stop_the_others(script, trained, monkeypatch, tmp_path, capsys):
    train = script.train_run

    def train_or_fail(config):
        if config.seed == 1:
            raise TrainingError("The loss is NaN.")
        train(config)

    monkeypatch.setattr(script, "train_run", train_or_fail)

    assert not script.run_all(jobs_of(script, tmp_path))
    assert [seed for _, seed in trained] == [2, 2]
    assert "[1/4] a, mood, prompt tuning, seed 1: FAILED: The loss is NaN." in capsys.readouterr().out


# === The command ===


def test_the_command_makes_the_runs_and_the_report(script, trained, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    path = write_yaml(tmp_path / "comparison.yaml", VALUES)
    arguments = [str(path), "--output", str(tmp_path / "out")]

    assert script.main([*arguments, "--model-tuning", "--arm", "b"]) == 0

    assert len(trained) == 4
    assert "| mood | Arm B | 75.0 ± 0.0 (2) | 75.0 ± 0.0 (2) | 62.5 |" in capsys.readouterr().out
    (tmp_path / "out" / "results.md").unlink()
    assert script.main([*arguments, "--report-only"]) == 0
    assert len(trained) == 4
    assert len(json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))) == 4
    assert (tmp_path / "out" / "results.md").is_file()


def test_a_mistake_ends_the_command_with_one_line(script, trained, tmp_path, capsys):
    path = write_yaml(tmp_path / "comparison.yaml", VALUES)

    assert script.main([str(path), "--output", str(tmp_path / "out"), "--arm", "c"]) == 2
    assert capsys.readouterr().err == "backbones: A name must be one of a, b. Received: 'c'.\n"
    assert trained == []


def test_the_file_that_comes_with_the_script_can_be_read(script):
    path = script.Path(script.__file__).with_name("backbones.yaml")

    comparison = script.read_comparison(path)

    assert comparison.tasks == tuple(yaml.safe_load(path.read_text(encoding="utf-8"))["tasks"])
    assert comparison.model_tuning is not None
