"""The order, the budget and the failures of the speed section, with made-up workers."""

import json

import pytest
from accelerator_fakes import STEP, Clock, FakeWorker

from benchmarks.accelerator.agreement import agreement
from benchmarks.accelerator.budget import Budget
from benchmarks.accelerator.report import markdown
from benchmarks.accelerator.speed import compare, run_groups
from benchmarks.accelerator.speed_cases import CASES, EXPECTED_S, QUICK_CASES, Case


def run_with(cases, seconds, cost_s):
    """Run made-up cases that cost so many seconds each; return what was found and the pairs of workers."""
    clock, pairs = Clock(), []

    def start():
        pairs.append({"our": FakeWorker(), "peer": FakeWorker()})
        return pairs[-1]

    def run_case(case, workers):
        clock.now += cost_s
        return {"settings": case.settings, "seconds": {}, "failed": {}}

    found = run_groups(
        cases,
        Budget(seconds, clock),
        start=start,
        run_case=run_case,
        run_matrix=lambda precision, workers: {"of": precision},
        keep=lambda found: json.dumps(found),
    )
    return found, pairs


def test_cases_stop_where_the_budget_is_spent_and_the_rest_is_named():
    found, pairs = run_with(CASES, 100, 30)

    done = [case["name"] for case in found["cases"]]
    assert done[:3] == [case.name for case in CASES[:3]]
    assert done + found["left_out"] == [case.name for case in CASES]
    assert all(worker.is_closed for pair in pairs for worker in pair.values())


def test_smaller_case_still_runs_where_a_larger_one_no_longer_fits():
    large, small = Case("large", "tf32", "training_step", 20, 128), STEP

    found, _ = run_with([large, small], EXPECTED_S["small"], 1)

    assert [case["name"] for case in found["cases"]] == [small.name]
    assert found["left_out"] == [large.name]


def test_each_group_has_workers_of_its_own_and_each_precision_one_matrix_product():
    found, pairs = run_with(QUICK_CASES, 1000, 1)

    assert len(found["cases"]) == 3
    assert len(pairs) == 2
    assert set(found["matrix"]) == {"float32", "bfloat16"}


def test_times_are_of_one_step_and_the_first_round_warms_up():
    workers = {"our": FakeWorker(), "peer": FakeWorker()}

    found = compare(STEP.settings, workers, rounds=3)

    assert found["seconds"] == {"our": [1.0] * 3, "peer": [1.0] * 3}
    assert workers["our"].asked == ["prepare", *["run"] * 4]
    assert found["agreement"] == {"losses_apart": 0.0, "is_close": True}


@pytest.mark.parametrize("fails_at", ["prepare", "run"])
def test_side_that_fails_leaves_the_other_one_alone(fails_at):
    found = compare(STEP.settings, {"our": FakeWorker(), "peer": FakeWorker({fails_at})}, rounds=2)

    assert found["failed"] == {"peer": "out of memory"}
    assert found["seconds"] == {"our": [1.0, 1.0]}


def test_comparison_that_breaks_is_kept_as_a_failure_and_the_next_case_runs():
    def run_case(case, workers):
        if case.kind == "generate":
            raise ValueError("other lengths")
        return compare(case.settings, workers, rounds=1)

    found = run_groups(
        QUICK_CASES,
        Budget(1000),
        start=lambda: {"our": FakeWorker(), "peer": FakeWorker()},
        run_case=run_case,
        run_matrix=lambda precision, workers: {"settings": {"size": 1}, "flops": 1.0, "seconds": {}},
        keep=lambda found: json.dumps(found),
    )

    assert [case["failed"] for case in found["cases"]] == [{}, {"comparison": "ValueError: other lengths"}, {}]
    assert f"{QUICK_CASES[1].name}, comparison: ValueError: other lengths." in markdown({"speed": found})


def test_workers_that_have_ended_are_started_again():
    ours = []

    def start():
        ours.append(FakeWorker())
        ours[-1].is_running = len(ours) > 1
        return {"our": ours[-1], "peer": FakeWorker()}

    run_groups(
        [STEP],
        Budget(1000),
        start=start,
        run_case=lambda case, workers: compare(case.settings, workers, rounds=1),
        run_matrix=lambda precision, workers: {},
        keep=lambda found: None,
    )

    assert [worker.asked for worker in ours] == [[], ["prepare", "run", "run"]]
    assert all(worker.is_closed for worker in ours)


def test_agreement_is_the_largest_relative_difference_of_losses_or_the_share_of_equal_tokens():
    close = agreement({"values": [10.0, 9.0]}, {"values": [10.001, 9.0]}, dtype="float32")
    far = agreement({"values": [10.0]}, {"values": [12.5]}, dtype="bfloat16")

    assert close == {"losses_apart": pytest.approx(0.001 / 10.001), "is_close": True}
    assert far == {"losses_apart": 0.2, "is_close": False}
    assert agreement({"ids": [[1, 2]]}, {"ids": [[1, 3]]}, dtype="float32") == {"equal_tokens": 0.5}
    assert agreement(None, {"values": []}, dtype="float32") == {}
