"""Two real processes train one prompt: it is that of one process, and a run whose workers were killed goes on to it."""

import json
import pathlib

import numpy as np
import pytest
import tiny_run
from forked_processes import COMMAND
from safetensors.numpy import load_file

pytestmark = pytest.mark.thorough

PROGRAM = pathlib.Path(__file__).with_name("worker_processes.py")
CHECKS = ["training.batch_size=4", "training.steps=4", "training.evaluate_every=2", "training.learning_rate=0.05"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A directory with a config, whose output directory is an override."""
    directory = tmp_path_factory.mktemp("workers")
    preset = tiny_run.write_preset(directory / "t5", num_layers=1, seed=3)
    task = tiny_run.write_tasks(directory)["mood"]
    tiny_run.write_yaml(directory / "run.yaml", tiny_run.run_values(preset, [task], directory / "none"))
    return directory


def together(forked, runs, name, *, count=2, killed=None, overrides=()):
    """Train by several workers; return what became of each."""
    settings = [f"output_dir={runs / name}", "training.strategy=multi_worker", *CHECKS, *overrides]
    done = forked.run(PROGRAM, count, json.dumps(killed or {}), "train", runs / "run.yaml", *settings)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def one(forked, runs):
    done = forked.run(COMMAND, "train", runs / "run.yaml", f"output_dir={runs / 'one'}", *CHECKS)
    assert done.returncode == 0, done.stderr
    return runs / "one"


@pytest.fixture(scope="module")
def two(forked, runs):
    ended = together(forked, runs, "two")
    assert [each["status"] for each in ended] == [0, 0], ended
    return runs / "two"


def prompt_of(run):
    return load_file(run / "prompt.safetensors")["prompt"]


def assert_same_run(run, other, atol):
    assert prompt_of(run) == pytest.approx(prompt_of(other), rel=0, abs=atol)
    found, expected = (json.loads((each / "metrics.json").read_text()) for each in (run, other))
    for name in ("best_step", "history", "validation", "score"):
        assert found[name] == expected[name], name


def test_two_workers_give_the_prompt_and_the_scores_of_one_process(one, two):
    assert_same_run(two, one, 1e-5)


def test_answers_that_workers_share_are_those_of_one_process(one, two):
    answers, expected = (
        [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()] for run in (two, one)
    )

    assert [each["output"] for each in answers] == [each["output"] for each in expected]
    assert [each["score"] for each in answers] == pytest.approx([each["score"] for each in expected], abs=1e-4)


@pytest.mark.parametrize("killed", [{"1": 3}, pytest.param({"0": 3}, marks=pytest.mark.slow)], ids=["worker", "chief"])
def test_a_killed_worker_ends_the_other_and_the_run_goes_on_to_the_same_prompt(forked, runs, two, killed):
    name = f"killed_{next(iter(killed))}"

    ended = together(forked, runs, name, killed=killed)

    dead, alive = (int(next(iter(killed))), 1 - int(next(iter(killed))))
    assert ended[dead]["status"] == -9
    assert ended[alive]["status"] == 75
    assert ended[alive]["said"].count("softprompt: All 2 workers train together to the end") == 1
    assert f"the loss of worker {dead}" in ended[alive]["said"]
    assert ended[alive]["seconds"] - ended[dead]["seconds"] < 10

    again = together(forked, runs, name)

    assert [each["status"] for each in again] == [0, 0], again
    assert_same_run(runs / name, two, 0.0)


@pytest.mark.slow
def test_four_workers_give_the_prompt_of_one_process(forked, runs, one):
    ended = together(forked, runs, "four", count=4)

    assert [each["status"] for each in ended] == [0] * 4, ended
    assert_same_run(runs / "four", one, 1e-5)


@pytest.mark.slow
def test_runs_killed_at_random_moments_go_on_to_the_same_prompt(forked, runs, two):
    generator = np.random.default_rng(28)
    whole_s = max(each["seconds"] for each in together(forked, runs, "whole"))
    for number in range(10):
        moment = float(generator.uniform(0.0, whole_s))
        killed = dict.fromkeys([["0"], ["1"], ["0", "1"]][number % 3], moment)

        ended = together(forked, runs, f"random_{number}", killed=killed)
        again = together(forked, runs, f"random_{number}")

        print(f"{killed}: {[(each['status'], round(each['seconds'], 1)) for each in ended]}", flush=True)
        assert [each["status"] for each in again] == [0, 0], (killed, again)
        assert_same_run(runs / f"random_{number}", two, 0.0)


@pytest.mark.slow
def test_fit_on_texts_gives_each_worker_all_rows_and_the_prompt_of_one_process(forked, tmp_path):
    done = forked.run(PROGRAM.with_name("fitted_texts.py"), tmp_path)

    assert done.stdout.splitlines()[-2] == "[0, 0, 0]", done.stderr
    first, second, alone = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("0", "1", "None"))
    assert first == second
    assert first["loss"] == pytest.approx(alone["loss"], rel=1e-5)
    np.testing.assert_allclose(first["prompt"], alone["prompt"], rtol=0, atol=1e-5)
