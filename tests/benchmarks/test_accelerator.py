"""The parts of benchmarks/accelerator that need no device: budgets, cases and differences; and a dry run."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from accelerator_fakes import Clock

from benchmarks.accelerator.budget import Budget, Job, run_jobs
from benchmarks.accelerator.case_names import MODELS, PARITY_CASES, QUICK_PARITY_CASES
from benchmarks.accelerator.differences import apart, cosine, differences
from benchmarks.accelerator.places import wait_for_model
from benchmarks.accelerator.precisions import PRECISIONS
from benchmarks.accelerator.rounds import steps_of_a_round
from benchmarks.accelerator.speed_cases import CASES, EXPECTED_S, QUICK_CASES, groups, shapes
from benchmarks.accelerator.written import last_line
from benchmarks.speed import inputs
from benchmarks.speed.protocol import ROOT


def test_budget_counts_down_from_when_it_is_made():
    clock = Clock()
    clock.now = 5.0
    budget = Budget(60, clock)
    clock.now = 25.0

    assert budget.left == 40
    assert budget.fits(40)
    assert not budget.fits(40.1)


def test_jobs_end_with_their_status_and_leave_a_log(tmp_path):
    ended = {}
    jobs = [
        Job(str(k), [sys.executable, "-c", f"print('said {k}'); raise SystemExit({k})"], tmp_path / f"{k}.log")
        for k in range(3)
    ]

    run_jobs(jobs, Budget(60), at_once=2, ended=lambda job, status: ended.setdefault(job.name, status))

    assert ended == {"0": 0, "1": 1, "2": 2}
    assert [last_line(job.log) for job in jobs] == ["said 0", "said 1", "said 2"]


def test_jobs_that_run_out_of_time_are_ended_and_named(tmp_path):
    ended = {}
    jobs = [Job(name, ["sleep", "60"], tmp_path / name) for name in ("running", "waiting")]

    run_jobs(jobs, Budget(0.5), at_once=1, ended=lambda job, status: ended.setdefault(job.name, status))

    assert ended == {"running": None, "waiting": None}


def test_round_is_filled_with_steps_but_not_without_end():
    assert steps_of_a_round(0.1, {}) == 4
    assert steps_of_a_round(10.0, {}) == 1
    assert steps_of_a_round(1e-9, {}) == 60
    assert steps_of_a_round(0.1, {"round_s": 1.0}) == 10


@pytest.mark.parametrize("cases", [CASES, QUICK_CASES], ids=["whole", "quick"])
def test_cases_name_what_there_is_and_each_group_comes_once(cases):
    keys = [group[0].group for group in groups(cases)]

    assert len(keys) == len(set(keys))
    assert [case for group in groups(cases) for case in group] == cases
    assert set(shapes(cases)) <= set(inputs.SHAPES) & set(EXPECTED_S)
    assert len({case.name for case in cases}) == len(cases)
    assert {case.precision for case in cases} <= set(PRECISIONS)


def test_cases_hold_every_shape_precision_prompt_and_length():
    assert {case.shape for case in CASES} == {"small", "base", "large"}
    assert {case.precision for case in CASES} == set(PRECISIONS)
    assert {(case.prompt, case.length) for case in CASES} >= {(20, 128), (100, 128), (100, 512)}


def test_parity_cases_are_each_model_in_each_precision():
    assert len(set(PARITY_CASES)) == 12
    assert {name for name, _ in PARITY_CASES + QUICK_PARITY_CASES} == set(MODELS)


def test_original_shape_has_a_tied_head_and_an_ungated_feed_forward(tmp_path):
    import safetensors.numpy

    shape = inputs.SHAPES["tiny_original"]

    inputs.write_model(tmp_path, shape)

    weights = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    ignored = ("layer_norm", "relative_attention_bias")
    assert sum(w.size for key, w in weights.items() if not any(word in key for word in ignored)) == shape.parameters
    assert "lm_head.weight" not in weights
    assert json.loads((tmp_path / "config.json").read_text())["feed_forward_proj"] == "relu"


def test_waiting_for_a_model_ends(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.accelerator.places.MODELS", tmp_path)

    with pytest.raises(TimeoutError, match="must be written within 0 s"):
        wait_for_model("small", seconds=0)


def test_difference_is_the_largest_one_and_its_share_of_the_largest_recorded_value():
    assert apart(np.array([1.0, -3.5]), np.array([1.5, -4.0])) == {"absolute": 0.5, "relative": 0.125}


def test_differences_refuse_other_shapes():
    with pytest.raises(ValueError, match="one shape"):
        apart(np.zeros(2), np.zeros((2, 1)))


def test_cosine_is_that_of_the_angle():
    assert cosine(np.array([1.0, 0.0]), np.array([1.0, 1.0])) == pytest.approx(0.5**0.5)


def test_tokens_are_compared_by_the_share_that_is_equal():
    one = {key: np.ones(2, np.float32) for key in ("loss", "logits", "scores", "gradient")}

    found = differences({**one, "tokens": np.array([1, 2, 3, 4])}, {**one, "tokens": np.array([1, 2, 3, 5])})

    assert found["equal_tokens"] == 0.75


@pytest.mark.slow
def test_dry_run_on_the_cpu_agrees_with_tensorflow(tmp_path):
    pytest.importorskip("jax")
    carried, peer = tmp_path / "carried", ROOT / ".venv-parity/bin/python"
    places = {
        "ACCELERATOR_CARRIED": str(carried),
        "ACCELERATOR_MODELS": str(tmp_path / "models"),
        "PYTHON": sys.executable,
    }
    variables = {
        **os.environ,
        **places,
        "JAX_PLATFORMS": "cpu",
        "PEER_PYTHON": str(peer if peer.exists() else sys.executable),
    }
    record = [sys.executable, "-m", "benchmarks.accelerator.record", str(carried / "reference.npz")]
    subprocess.run([*record, "tiny", "tiny_original", "mini"], cwd=ROOT, env=variables, check=True, timeout=3000)

    command = [ROOT / "benchmarks/accelerator/run.sh", tmp_path / "out", "--quick", "--seconds", "3000"]
    subprocess.run(command, env=variables, check=True, timeout=3100)

    found = json.loads((tmp_path / "out/results.json").read_text())
    assert found["parity"]["failed"] == {}
    assert len(found["parity"]["cases"]) == len(QUICK_PARITY_CASES)
    assert len(found["speed"]["cases"]) == len(QUICK_CASES)
    assert all(case["seconds"]["our"] for case in found["speed"]["cases"])
    table = (tmp_path / "out/results.md").read_text()
    assert "| no |" not in table
    assert "other weights" not in table
