"""A comparison makes every run once, goes on where it was killed, and never mixes runs of different settings."""

import json

import pytest
import yaml
from tiny_run import mood_rows, write_rows, write_tasks, write_yaml

from softprompt_tf.errors import ConfigError, DataError, TrainingError
from softprompt_tf.experiments.results import RunResult
from softprompt_tf.experiments.runner import Runner

VALUES = {
    "arms": [{"name": "a", "backbone": "some_preset"}, {"name": "b", "backbone": "mini", "label": "Arm B"}],
    "tasks": ["mood"],
    "seeds": [1, 2],
    "overrides": {"training.steps": 6, "prompt.length": 4, "training.weight_decay": 1e-5},
}
# Of mood's 8 validation rows, 5 are negative: two of "book" and three of "chair".
MAJORITY = 5 / 8


@pytest.fixture
def comparison(comparison_script, monkeypatch, tmp_path):
    """The module, on a directory of configs whose tasks have no test rows."""
    configs = tmp_path / "configs"
    (configs / "tasks").mkdir(parents=True)
    write_tasks(configs / "tasks")
    write_yaml(configs / "defaults.yaml", {"training": {"steps": 30_000, "batch_size": 32}})
    monkeypatch.setattr(comparison_script, "CONFIGS", configs)
    return comparison_script


@pytest.fixture
def script(backbones_script, comparison):
    return backbones_script


@pytest.fixture
def trained(monkeypatch):
    """Put a stand-in for training and scoring, whose test accuracy is a third of the other; return a note for each run."""
    notes = []

    def run(runner, trial, scorings):
        notes.append((trial.settings.backbone, trial.arm, trial.seed))
        return [result_of(scoring, 0.75 if scoring.eval_task == scoring.task else 0.25) for scoring in scorings]

    monkeypatch.setattr(Runner, "run", run)
    return notes


def result_of(scoring, accuracy):
    return RunResult(
        experiment=scoring.experiment,
        arm=scoring.arm,
        x=scoring.x,
        task=scoring.task.name,
        eval_task=scoring.eval_task.name,
        seed=scoring.trial.seed,
        metrics={"accuracy": accuracy},
        score=100 * accuracy,
        step=3,
        seconds=12.0,
        backbone="tiny",
        config=scoring.config,
    )


def plan_of(comparison, tmp_path, **changes):
    return comparison.plan_of(comparison.read_comparison(write_yaml(tmp_path / "c.yaml", {**VALUES, **changes})))


def add_test_rows(comparison):
    """Give the task mood the test rows of one file: three of them, two positive."""
    path = comparison.CONFIGS / "tasks" / "mood.yaml"
    write_rows(path.with_name("mood_test.jsonl"), mood_rows()[1:4])
    write_yaml(path, {**yaml.safe_load(path.read_text(encoding="utf-8")), "test": "mood_test.jsonl"})


# === Which runs there are ===


def test_there_is_a_run_for_each_task_seed_and_arm_in_a_directory_of_its_own(comparison, tmp_path):
    plan = plan_of(comparison, tmp_path)

    assert [(each.x, each.trial.seed, each.trial.settings.backbone) for each in plan.scorings] == [
        ("a", 1, "some_preset"),
        ("b", 1, "mini"),
        ("a", 2, "some_preset"),
        ("b", 2, "mini"),
    ]
    assert len(plan.trials()) == 4


def test_a_task_with_test_rows_is_scored_on_both(comparison, tmp_path):
    add_test_rows(comparison)

    plan = plan_of(comparison, tmp_path, seeds=[1])

    assert [(each.x, each.eval_task.validation is None) for each in plan.scorings] == [
        ("a", False),
        ("a", True),
        ("b", False),
        ("b", True),
    ]
    assert len(plan.trials()) == 2


def test_overrides_of_a_task_lie_on_those_of_all(comparison, tmp_path):
    overrides = {"mood": {"training.steps": 9, "task.max_input_tokens": 12}}

    (scoring, *_) = plan_of(comparison, tmp_path, task_overrides=overrides).scorings

    settings = scoring.trial.settings
    assert (settings.training.steps, settings.training.batch_size, settings.prompt.length) == (9, 32, 4)
    assert settings.training.weight_decay == 1e-5
    assert scoring.task.max_input_tokens == 12
    assert scoring.task.metrics == ("accuracy",)


def test_only_arms_that_ask_for_it_write_a_sentinel(comparison, tmp_path):
    arms = [{"name": "a", "backbone": "mini", "target_format": "sentinel"}, {"name": "b", "backbone": "mini"}]

    first, second = plan_of(comparison, tmp_path, arms=arms, seeds=[1]).scorings

    assert (first.task.target_format, second.task.target_format) == ("sentinel", "text")


def test_model_tuning_comes_last_with_seeds_and_settings_of_its_own(comparison, tmp_path):
    plan = plan_of(
        comparison,
        tmp_path,
        model_tuning={"steps": 5, "warmup_steps": 2},
        model_tuning_seeds=[7],
        task_overrides={"mood": {"model_tuning.steps": 8}},
    )

    assert [each.arm for each in plan.scorings] == 4 * ["prompt_tuning"] + 2 * ["model_tuning"]
    trial = plan.scorings[4].trial
    tuning = trial.settings.model_tuning
    assert (trial.seed, tuning.steps, tuning.warmup_steps, tuning.batch_size) == (7, 8, 2, 32)
    assert trial.settings.training.steps == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeeds": [1]}, r"Unknown key `seeeds` in .*yaml:\d+. Did you mean `seeds`\?"),
        ({"tasks": []}, r"`tasks` must be a list of task names. Received: \[\] \(.*yaml:\d+\)"),
        ({"arms": [VALUES["arms"][0]] * 2}, "Every arm must have a name of its own."),
        ({"task_overrides": {"moood": {}}}, "A name must be one of mood. Received: 'moood'."),
        (
            {"task_overrides": {"mood": {"model_tuning.stepps": 1}}},
            "Unknown key `stepps` of model tuning on `mood` in .*yaml. Did you mean `steps`",
        ),
        ({"overrides": {"training.stepps": 1}}, "Unknown key `training.stepps`"),
    ],
)
def test_a_mistake_in_the_file_is_named(comparison, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        plan_of(comparison, tmp_path, **changes)


# === Making them ===


def test_a_run_says_how_it_did(script, comparison, trained, tmp_path):
    add_test_rows(comparison)
    plan = plan_of(comparison, tmp_path)
    assert script.make_runs(plan, tmp_path / "out")

    run = script.finished_runs(plan, tmp_path / "out")[0]

    assert (run.arm, run.task, run.method, run.seed) == ("a", "mood", "prompt tuning", 1)
    assert (run.accuracy, run.best_step, run.majority, run.num_rows) == (0.75, 3, MAJORITY, 8)
    assert (run.test_accuracy, run.test_majority) == (0.25, 2 / 3)


def test_a_task_without_test_rows_has_no_test_accuracy(script, comparison, trained, tmp_path):
    plan = plan_of(comparison, tmp_path)
    script.make_runs(plan, tmp_path / "out")

    assert {run.test_accuracy for run in script.finished_runs(plan, tmp_path / "out")} == {None}


def test_arms_of_one_backbone_share_its_runs_and_each_has_them(script, comparison, trained, tmp_path):
    add_test_rows(comparison)
    plan = plan_of(comparison, tmp_path, arms=[{"name": name, "backbone": "mini"} for name in "ab"], seeds=[1])

    script.make_runs(plan, tmp_path / "out")

    runs = script.finished_runs(plan, tmp_path / "out")
    assert len(trained) == 1
    assert [(run.arm, run.test_accuracy) for run in runs] == [("a", 0.25), ("b", 0.25)]


def test_a_finished_run_is_not_made_again(script, comparison, trained, tmp_path, capsys):
    for seeds in ([1], [1, 2]):
        assert script.make_runs(plan_of(comparison, tmp_path, seeds=seeds), tmp_path / "out")

    assert [seed for _, _, seed in trained] == [1, 1, 2, 2]
    assert capsys.readouterr().out.count("finished before") == 2


def test_runs_of_other_settings_are_made_beside_and_left_out(script, comparison, trained, tmp_path):
    script.make_runs(plan_of(comparison, tmp_path), tmp_path / "out")
    other = plan_of(comparison, tmp_path, overrides={"training.steps": 7}, seeds=[1])

    script.make_runs(other, tmp_path / "out")

    assert len(trained) == 6
    assert len(script.finished_runs(other, tmp_path / "out")) == 2
    assert len(script.finished_runs(plan_of(comparison, tmp_path), tmp_path / "out")) == 4


def test_a_run_that_fails_does_not_stop_the_others(script, comparison, trained, monkeypatch, tmp_path, capsys):
    run = Runner.run

    def run_or_fail(runner, trial, scorings):
        if trial.seed == 1:
            raise TrainingError("The loss is NaN.")
        return run(runner, trial, scorings)

    monkeypatch.setattr(Runner, "run", run_or_fail)

    assert not script.make_runs(plan_of(comparison, tmp_path), tmp_path / "out")
    assert [seed for _, _, seed in trained] == [2, 2]
    assert "FAILED: The loss is NaN." in capsys.readouterr().out


def test_a_backbone_or_rows_that_are_missing_are_told_before_a_run(script, comparison, trained, tmp_path):
    arms = [*VALUES["arms"], {"name": "c", "backbone": str(tmp_path / "none")}]
    with pytest.raises(ConfigError, match="`backbone` must be a name or a directory that is there. Received: .*none"):
        script.make_runs(plan_of(comparison, tmp_path, arms=arms), tmp_path / "out")

    (comparison.CONFIGS / "tasks" / "mood_dev.jsonl").unlink()
    with pytest.raises(DataError, match="mood_dev.jsonl"):
        script.make_runs(plan_of(comparison, tmp_path), tmp_path / "out")
    assert trained == []


def test_a_report_whose_runs_are_elsewhere_is_not_written_over(script, comparison, trained, tmp_path):
    (tmp_path / "results.json").write_text("[]", encoding="utf-8")

    with pytest.raises(ConfigError, match=r"results.json is of runs that are elsewhere. Choose another, or give"):
        script.make_runs(plan_of(comparison, tmp_path), tmp_path)
    assert trained == []


# === The command ===


def test_the_command_makes_the_runs_and_the_report(script, trained, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    path = write_yaml(tmp_path / "comparison.yaml", VALUES)
    arguments = [str(path), "--output", str(tmp_path / "out"), "--model-tuning"]

    assert script.main([*arguments, "--arm", "b"]) == 0

    assert trained == [("mini", method, seed) for method in ("prompt_tuning", "model_tuning") for seed in (1, 2)]
    assert "| mood | Arm B | 75.0 ± 0.0 (2) | 75.0 ± 0.0 (2) | 62.5 |" in capsys.readouterr().out
    (tmp_path / "out" / "results.md").unlink()
    assert script.main([*arguments, "--report-only"]) == 0
    assert len(trained) == 4
    assert len(json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))) == 4
    assert (tmp_path / "out" / "results.md").is_file()


def test_a_command_that_was_interrupted_goes_on(script, trained, monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")
    path = write_yaml(tmp_path / "comparison.yaml", VALUES)
    arguments = [str(path), "--output", str(tmp_path / "out")]
    run = Runner.run

    def run_or_stop(runner, trial, scorings):
        if len(trained) == 3:
            raise KeyboardInterrupt
        return run(runner, trial, scorings)

    with monkeypatch.context() as patch:
        patch.setattr(Runner, "run", run_or_stop)
        assert script.main(arguments) == 130

    assert script.main(arguments) == 0
    assert [(backbone, seed) for backbone, _, seed in trained] == [
        ("some_preset", 1),
        ("mini", 1),
        ("some_preset", 2),
        ("mini", 2),
    ]


def test_a_report_alone_needs_no_data_where_results_json_is_all_there_is(script, comparison, trained, tmp_path):
    pytest.importorskip("matplotlib")
    arguments = [str(write_yaml(tmp_path / "comparison.yaml", VALUES)), "--output"]
    script.main([*arguments, str(tmp_path / "out")])
    (tmp_path / "other").mkdir()
    (tmp_path / "out" / "results.json").rename(tmp_path / "other" / "results.json")
    (comparison.CONFIGS / "tasks" / "mood.yaml").unlink()

    assert script.main([*arguments, str(tmp_path / "other"), "--report-only"]) == 0
    table = (tmp_path / "other" / "results.md").read_text(encoding="utf-8")
    assert table == (tmp_path / "out" / "results.md").read_text(encoding="utf-8")


def test_a_mistake_ends_the_command_with_one_line(script, trained, tmp_path, capsys):
    path = write_yaml(tmp_path / "comparison.yaml", VALUES)

    assert script.main([str(path), "--output", str(tmp_path / "out"), "--arm", "c"]) == 2
    assert capsys.readouterr().err == "backbones: A name must be one of a, b. Received: 'c'.\n"
    assert trained == []


def test_the_file_that_comes_with_the_script_can_be_read(script, comparison):
    path = script.Path(script.__file__).with_name("backbones.yaml")

    read = comparison.read_comparison(path)

    assert read.tasks == tuple(yaml.safe_load(path.read_text(encoding="utf-8"))["tasks"])
    assert read.model_tuning is not None
