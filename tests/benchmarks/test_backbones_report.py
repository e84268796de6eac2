"""Means, deviations, the table and the chart of a comparison say what its runs say."""

import json
import math
from dataclasses import asdict

import pytest

from softprompt_tf.errors import ConfigError

ARMS = {"a": "Arm A", "b": "Arm B"}


@pytest.fixture
def make(report_script):
    """Make a finished run of which only some fields matter."""

    def made(accuracy, *, arm="a", task="trec", method="prompt tuning", seed=1, test=None, majority=0.25):
        return report_script.FinishedRun(
            arm=arm,
            task=task,
            method=method,
            seed=seed,
            accuracy=accuracy,
            best_step=10,
            majority=majority,
            num_rows=8,
            test_accuracy=test,
            test_majority=None if test is None else 0.375,
            seconds=12.0,
        )

    return made


# === Means ===


def test_the_deviation_is_that_of_a_sample(report_script):
    summary = report_script.summarize([0.5, 0.7, 0.9])

    assert summary.mean == pytest.approx(0.7)
    assert summary.deviation == pytest.approx(math.sqrt((0.2**2 + 0.0 + 0.2**2) / 2))
    assert summary.count == 3


def test_one_run_has_no_deviation(report_script):
    assert report_script.summarize([0.5]) == report_script.Summary(mean=0.5, deviation=None, count=1)


def test_no_run_has_no_summary(report_script):
    assert report_script.summarize([]) is None


# === The table ===


def test_the_table_has_a_line_for_each_task_and_arm_in_the_order_asked_for(report_script, make):
    runs = [
        make(0.5, arm="b", majority=0.5, task="sst2"),
        make(0.75, seed=2),
        make(0.25, seed=1),
        make(0.875, method="model tuning"),
        make(0.5, arm="b"),
    ]

    assert report_script.markdown_table(runs, tasks=["sst2", "trec"], arms=ARMS) == (
        "| task | backbone | prompt tuning, validation | model tuning, validation | majority, validation |\n"
        "| --- | --- | ---: | ---: | ---: |\n"
        "| sst2 | Arm B | 50.0 | - | 50.0 |\n"
        "| trec | Arm A | 50.0 ± 35.4 (2) | 87.5 | 25.0 |\n"
        "| trec | Arm B | 50.0 | - | 25.0 |\n"
    )


def test_the_table_has_test_columns_where_a_run_has_a_test_accuracy(report_script, make):
    runs = [make(0.5, test=0.25), make(0.5, task="sst2"), make(0.75, test=0.625, method="model tuning")]

    lines = report_script.markdown_table(runs, tasks=["trec", "sst2"], arms=ARMS).splitlines()

    assert lines[0].endswith("| prompt tuning, test | model tuning, test | majority, test |")
    assert lines[2] == "| trec | Arm A | 50.0 | 75.0 | 25.0 | 25.0 | 62.5 | 37.5 |"
    assert lines[3] == "| sst2 | Arm A | 50.0 | - | 25.0 | - | - | - |"


def test_runs_on_different_rows_show(report_script, make):
    runs = [make(0.5, majority=0.25), make(0.5, majority=0.5, seed=2)]

    assert "| 25.0 / 50.0 |" in report_script.markdown_table(runs, tasks=["trec"], arms=ARMS)


# === The report's files ===


def test_a_report_is_made_of_the_runs_that_are_finished(report_script, make, tmp_path):
    pytest.importorskip("matplotlib")
    runs = [make(0.5), make(0.75, method="model tuning"), make(0.5, arm="of another comparison")]

    table = report_script.write_report(tmp_path, runs, tasks=["trec", "sst2"], arms=ARMS, title="Title")

    assert "| trec | Arm A | 50.0 | 75.0 | 25.0 |" in table
    assert (tmp_path / "results.md").read_text(encoding="utf-8") == table
    rows = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert sorted((row["arm"], row["method"], row["accuracy"]) for row in rows) == [
        ("a", "model tuning", 0.75),
        ("a", "prompt tuning", 0.5),
    ]
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")


def test_a_report_can_be_remade_from_results_json_alone(report_script, make, tmp_path):
    pytest.importorskip("matplotlib")
    earlier = [{**asdict(make(0.5)), "steps": 400}]  # with a field that runs had once
    (tmp_path / "results.json").write_text(json.dumps(earlier), encoding="utf-8")

    table = report_script.write_report(tmp_path, [], tasks=["trec"], arms=ARMS, title="Title")

    assert "| trec | Arm A | 50.0 | - | 25.0 |" in table


def test_a_report_of_nothing_is_refused(report_script, tmp_path):
    with pytest.raises(ConfigError, match="A report needs a finished run of these arms and tasks. Received: none"):
        report_script.write_report(tmp_path, [], tasks=["trec"], arms=ARMS, title="Title")
