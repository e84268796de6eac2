"""A sweep with `precision: auto` chooses once for each backbone, keeps its choice, and gives it to all runs."""

import json

import numpy as np
import pytest
from tiny_run import write_preset
from tiny_sweep import TRAINING

from softprompt_tf.errors import TrainingError
from softprompt_tf.experiments.plan import make_plan
from softprompt_tf.experiments.precisions import with_chosen_precisions, with_kept_precisions
from softprompt_tf.experiments.reproduce import run_experiments
from softprompt_tf.experiments.settings import read_sweep
from softprompt_tf.experiments.sweep import plan_lines, result_store
from softprompt_tf.runs import precision_choice
from softprompt_tf.runs.precision_choice import Measured

AUTO = {**TRAINING, "precision": "auto"}


def measured(seconds):
    return Measured(seconds, (2.0,), (np.array([3.0, 4.0]),))


FASTER, SLOWER = [measured(1.0), measured(0.5)], [measured(1.0), measured(2.0)]


@pytest.fixture(autouse=True)
def units(monkeypatch):
    """This machine has units for bfloat16."""
    monkeypatch.setattr(precision_choice, "why_not_bfloat16", lambda: "")


@pytest.fixture
def plan(place):
    """Two experiments: one of a baseline and prompts, on two backbones, with auto, and one that says float32."""
    backbones = {"a": {"backbone": place.backbone}, "b": {"backbone": "mini"}}
    swept = {"tasks": [place.mood], "arms": ["random_prompt", "prompt_tuning"], "variants": backbones}
    named = {"tasks": [place.mood], "training": {"precision": "float32"}, "ensemble": True}
    return make_plan(read_sweep(place.sweep({"open": swept, "named": named}, training=AUTO)))


def precisions(plan):
    found = {(each.experiment, each.x, each.trial.settings.training.precision) for each in plan.scorings}
    return sorted(found, key=str)


def never(_):
    raise AssertionError("measured again")


def test_each_backbone_is_measured_once_and_its_choice_is_kept(plan, tmp_path, capsys):
    asked = []
    answers = iter([FASTER, SLOWER])

    chosen = with_chosen_precisions(plan, tmp_path, lambda trial: asked.append(trial) or next(answers))

    assert precisions(chosen) == [
        ("named", None, "float32"),
        ("open", "a", "bfloat16"),
        ("open", "b", "float32"),
    ]
    assert [(trial.arm, trial.seed) for trial in asked] == [("prompt_tuning", 1)] * 2
    kept = json.loads((tmp_path / "precision.json").read_text())
    assert list(kept) == [trial.settings.backbone for trial in asked]
    assert [each["precision"] for each in kept.values()] == ["bfloat16", "float32"]
    assert "bfloat16 (0.50 times as long as float32; losses differ by 0 %" in capsys.readouterr().err
    for again in (with_chosen_precisions(plan, tmp_path, never), with_kept_precisions(plan, tmp_path)):
        assert precisions(again) == precisions(chosen)
        assert list(again.trials()) == list(chosen.trials())


def test_votes_are_of_runs_in_the_chosen_precision(place, tmp_path):
    plan = make_plan(read_sweep(place.sweep({"vote": {"tasks": [place.mood], "ensemble": True}}, training=AUTO)))

    (vote,) = with_chosen_precisions(plan, tmp_path, lambda _: FASTER).votes

    assert {trial.settings.training.precision for trial in vote.trials} == {"bfloat16"}


def test_a_plan_that_names_its_precisions_is_left_as_it_is(place, tmp_path):
    plan = make_plan(read_sweep(place.sweep({"one": {"tasks": [place.mood]}})))

    assert with_chosen_precisions(plan, tmp_path, never) is plan
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["{", "[]", '{"mini": {"precision": "float8", "reason": ""}}'])
def test_a_damaged_file_is_told(plan, tmp_path, content):
    (tmp_path / "precision.json").write_text(content)

    with pytest.raises(TrainingError, match=r"precision.json must hold the precision that was chosen. Received: "):
        with_kept_precisions(plan, tmp_path)


@pytest.mark.thorough
def test_a_sweep_trains_in_its_precision_goes_on_with_it_and_reports_it(place, tmp_path, monkeypatch):
    from softprompt_tf.experiments import backbones, runner

    preset = str(write_preset(tmp_path / "small", num_layers=1))
    training = {**AUTO, "steps": 2}
    path = place.sweep({"one": {"tasks": [place.mood]}}, training=training, backbone=preset, seeds=[1])
    asked, loaded, lines, output = [], [], [], tmp_path / "out"
    load = backbones.load_t5
    monkeypatch.setattr(backbones, "load_t5", lambda *name, **how: loaded.append(how["dtype"]) or load(*name, **how))
    monkeypatch.setattr(runner, "measured_run", lambda *what: asked.append(what) or FASTER)
    assert "to do" in plan_lines(make_plan(read_sweep(path)), output)[0]

    run_experiments(path, output, tell=lines.append)
    (result,), before = result_store(output).results(), len(lines)
    monkeypatch.setattr(runner, "measured_run", lambda *_: pytest.fail("measured again"))
    outcome = run_experiments(path, output, tell=lines.append)

    ((config, (data,)),) = asked
    assert (config.seed, config.backbone, data.task.name, len(data.train)) == (1, preset, "mood", 16)
    assert result.config["run"]["training"]["precision"] == "bfloat16"
    assert set(loaded) == {"bfloat16"}
    assert outcome.made == 0
    assert sum(line.endswith("finished before") for line in lines[before:]) == 1
    assert "finished" in plan_lines(make_plan(read_sweep(path)), output)[0]
    assert "Backbone: small in bfloat16." in (output / "report.md").read_text()
