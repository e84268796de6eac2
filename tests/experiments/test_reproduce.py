"""A sweep file to a report, as the two commands do it."""

import os
import re
import sys
import types

import numpy as np
import pytest
from tiny_run import write_yaml

from softprompt_tf.cli.cli import main
from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.experiments.plan import make_plan
from softprompt_tf.experiments.reproduce import _inspected, run_experiments
from softprompt_tf.experiments.settings import read_sweep
from softprompt_tf.experiments.sweep import result_store
from softprompt_tf.methods import TaskPrompt, write_prompt

pytest.importorskip("matplotlib")

pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("shared_tuners")]


@pytest.fixture
def tell():
    lines = []

    class Tell(list):
        def __call__(self, line):
            self.append(line)

    return Tell(lines)


def report_of(output):
    return (output / "report.html").read_text(encoding="utf-8")


def test_a_sweep_ends_in_a_report_of_its_results(place, tmp_path, tell):
    sweep = place.sweep({"methods": {"tasks": [place.mood], "arms": ["prompt_tuning", "random_prompt"]}})

    outcome = run_experiments(sweep, tmp_path, tell=tell)

    report, results = report_of(tmp_path), result_store(tmp_path).results()
    assert outcome.made == len(results) == 4
    for arm in ("prompt_tuning", "random_prompt"):
        first, second = (result.score for result in results if result.arm == arm)
        assert f"{(first + second) / 2:.2f}" in report
    assert "What the prompts say" in report  # of the trained one
    assert tell[-1] == f"4 results in {tmp_path / 'report.html'}"


def test_a_method_without_rows_of_a_prompt_has_nothing_to_say_and_is_not_told_of(tmp_path, tell):
    scales = {"decoder_feed_forward_scale": np.ones((1, 1, 8), np.float32)}
    trial = types.SimpleNamespace(arm="prompt_tuning", name="mood-1", settings=None)
    scoring = types.SimpleNamespace(trial=trial, x=None, task=types.SimpleNamespace(name="mood"))
    write_prompt(tmp_path / "trials" / "mood-1" / "prompt.safetensors", TaskPrompt(tensors=scales, method="ia3"))

    assert _inspected(types.SimpleNamespace(scorings=[scoring]), tmp_path, tell) is None
    assert tell == []


@pytest.mark.slow
def test_the_markdown_report_has_the_tasks_and_values_in_the_file_s_order(place, tmp_path, tell):
    variants = {"short": {"prompt.length": 2}, "long": {"prompt.length": 5}, "middle": {"prompt.length": 3}}
    experiment = {"tasks": [place.mood, place.echo], "arms": ["random_prompt"], "variants": variants, "seeds": [2, 1]}
    first = {"tasks": [place.mood], "arms": ["random_prompt"], "seeds": [1]}
    run_experiments(place.sweep({"earlier": first}), tmp_path, tell=tell)

    run_experiments(place.sweep({"mine": experiment}), tmp_path, tell=tell)

    lines = (tmp_path / "report.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("## ")] == ["## Mine", "## Earlier"]
    place_of_table = lines.index("| value | mood | echo | mean |")
    assert [line.split(" | ")[0] for line in lines[place_of_table + 2 :][:3]] == ["| short", "| long", "| middle"]
    scores = [
        result.score
        for result in result_store(tmp_path).results()
        if (result.experiment, result.x, result.task) == ("mine", "long", "mood")
    ]
    assert len(scores) == 2
    assert f"| long | {sum(scores) / 2:.1f} ± " in lines[place_of_table + 3]
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"mine.svg", "earlier.svg"}


def test_what_is_left_out_is_told_and_stands_in_the_report(place, tmp_path, tell, monkeypatch):
    monkeypatch.delenv("BACKBONES", raising=False)
    variants = {"a": {"backbone": "${BACKBONES}/a"}, "b": {"backbone": "${BACKBONES}/b"}}
    experiments = {
        "methods": {"tasks": [place.mood], "arms": ["random_prompt"], "seeds": [1]},
        "pretraining_objective": {"tasks": [place.mood], "variants": variants},
    }

    run_experiments(place.sweep(experiments), tmp_path, leave_out=True, tell=tell)

    assert sum(line.startswith("left out: pretraining_objective, ") for line in tell) == 2
    missing = report_of(tmp_path).partition("Not in this report")[2]
    assert "Pretraining objective: The environment variable `BACKBONES` must be set" in missing


def test_what_was_not_reached_is_told_and_the_same_command_goes_on(place, tmp_path, tell):
    experiment = {"tasks": [place.mood], "arms": ["random_prompt"], "seeds": [1]}
    sweep = place.sweep({"methods": experiment})

    run_experiments(sweep, tmp_path, minutes=0, tell=tell)
    assert tell == [
        "1 result was not reached in 0 minutes. The same command goes on.",
        "There is no result yet, so there is no report.",
    ]
    assert not (tmp_path / "report.html").exists()

    more = {"methods": experiment, "prompt_length": experiment | {"arms": ["prompt_tuning"]}}
    two = place.sweep(more, name="two.yaml")
    run_experiments(sweep, tmp_path, tell=tell)
    run_experiments(two, tmp_path, minutes=0, tell=tell)
    assert "Prompt length: its runs were not reached in the time given." in report_of(tmp_path)


def test_a_failed_run_is_an_error_after_the_report_of_the_others(place, tmp_path, tell):
    rates = {"tasks": [place.mood], "vary": {"training.learning_rate": [1e39, 0.1]}, "seeds": [1]}

    with pytest.raises(TrainingError, match=r"Received: 1 that failed, such as learning_rate, .* must be finite"):
        run_experiments(place.sweep({"learning_rate": rates}), tmp_path, tell=tell)

    assert "Learning rate" in report_of(tmp_path)
    assert "Not in this report" not in report_of(tmp_path)


def test_an_experiment_all_of_whose_runs_failed_is_named_in_the_report(place, tmp_path, tell):
    fine = {"tasks": [place.mood], "arms": ["random_prompt"], "seeds": [1]}
    broken = {"tasks": [place.mood], "training": {"learning_rate": 1e39}, "seeds": [1]}

    with pytest.raises(TrainingError, match=r"Received: 1 that failed"):
        run_experiments(place.sweep({"methods": fine, "prompt_length": broken}), tmp_path, tell=tell)

    assert "Prompt length: its runs failed." in report_of(tmp_path).partition("Not in this report")[2]


def test_a_missing_plot_library_is_told_before_the_runs(place, tmp_path, tell, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    with pytest.raises(ConfigError, match=r"pip install 'softprompt-tf\[report\]'"):
        run_experiments(place.sweep({"methods": {"tasks": [place.mood]}}), tmp_path, tell=tell)

    assert list(tmp_path.iterdir()) == []


def test_the_command_plans_runs_and_goes_on(place, tmp_path, capsys):
    sweep = place.sweep({"methods": {"tasks": [place.mood], "arms": ["random_prompt"]}})
    command = ["sweep", str(sweep), "--output", str(tmp_path)]

    assert main([*command, "--plan"]) == 0
    planned = capsys.readouterr().out
    assert "[1/2] methods, random_prompt, mood, seed 1: to do: 1 of 1" in planned
    assert planned.endswith("2 runs, 2 results, 0 of them finished.\n")
    assert list(tmp_path.iterdir()) == []

    assert main(command) == 0
    first = capsys.readouterr().out
    assert re.search(r"    methods, random_prompt, mood, seed 1: \d+\.\d\d \(accuracy", first)
    assert main(command) == 0
    assert "[2/2] methods, random_prompt, mood, seed 2: finished before" in capsys.readouterr().out


def test_reproduce_leaves_out_what_is_not_there(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("SOFTPROMPT_BACKBONES", raising=False)
    monkeypatch.setenv("SOFTPROMPT_DATA", "set back after the test")
    data = tmp_path / "data"
    data.mkdir()

    assert main(["reproduce", "--data", str(data), "--output", str(tmp_path / "out"), "--plan"]) == 0

    out = capsys.readouterr().out
    assert "left out: methods, superglue_boolq: " in out
    assert "`SOFTPROMPT_BACKBONES` must be set" in out
    assert "0 runs, 0 results" in out
    assert os.environ["SOFTPROMPT_DATA"] == str(data)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--minutes", "-1"], "`--minutes` must be a number from 0 up. Received: -1.0"),
        (["--minutes", "nan"], "`--minutes` must be a number from 0 up. Received: nan"),
        (["--data", "/no/such/place"], "`--data` must be a directory. Received: /no/such/place"),
        (["--backbone", "/no/such/preset"], "must be a name or a directory that is there. Received: /no/such/preset"),
    ],
)
def test_wrong_arguments_are_told(place, tmp_path, capsys, arguments, message):
    sweep = place.sweep({"methods": {"tasks": [place.mood]}})

    assert main(["sweep", str(sweep), "--output", str(tmp_path), *arguments]) != 0

    assert message in capsys.readouterr().err


def test_a_file_that_is_no_sweep_is_told(tmp_path, capsys):
    path = write_yaml(tmp_path / "task.yaml", {"name": "mood", "inputs": "{text}"})

    assert main(["sweep", str(path), "--output", str(tmp_path / "out")]) != 0

    assert "`experiments` in" in capsys.readouterr().err


def test_a_report_leaves_out_results_of_settings_that_were_changed(place, tmp_path, tell):
    def sweep(experiment="mine", **settings):
        return place.sweep({experiment: {"tasks": [place.mood], "arms": ["random_prompt"], **settings}})

    def keep_results(path, accuracy):
        for scoring in make_plan(read_sweep(path)).scorings:
            result_store(tmp_path).write(scoring.result({"accuracy": accuracy}, None, 1.0))

    keep_results(sweep("other"), 0.375)
    keep_results(sweep(seeds=[1, 2, 3]), 0.125)
    keep_results(sweep(prompt={"length": 7}), 0.25)

    run_experiments(sweep(prompt={"length": 7}), tmp_path, minutes=0, tell=tell)

    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "25.0 ± 0.0 (2)" in report  # of seeds 1 and 2 as they are now
    assert "37.5 ± 0.0 (2)" in report
    assert "Left out of the report: 3 earlier results of other settings." in tell
