"""Tables and plots of the measurements' pages are those of the result files."""

import json
import re

import pytest

from benchmarks.measured_tables import (
    late_layers,
    method_costs,
    methods_by_tasks,
    shared_encoding,
    shared_texts,
    time_to_accuracy,
)
from benchmarks.measured_tables.__main__ import MEASUREMENTS, PAGES, RESULTS, all_tables
from benchmarks.measured_tables.pages import written_page
from softprompt_tf.experiments.results import ResultStore, RunResult

TEXTS = {page.name: page.read_text(encoding="utf-8") for page in PAGES.glob("*.md")}


def test_pages_are_as_the_command_writes_them():
    tables = all_tables()

    assert [name for name, text in TEXTS.items() if written_page(text, tables) != text] == []


def test_every_table_is_on_a_page():
    assert {name for text in TEXTS.values() for name in re.findall("<!-- table: (.*) -->", text)} == set(MEASUREMENTS)


def test_the_plot_is_of_the_results_that_the_table_is_of():
    plot = (RESULTS / "late_layers.svg").read_text(encoding="utf-8")

    assert plot.endswith(late_layers.made_from(RESULTS) + "\n")


def test_a_table_takes_the_place_of_the_one_before():
    page = "a\n<!-- table: x -->\n\nold\n\n<!-- end of table -->\nb\n"

    assert written_page(page, {"x": "new"}) == page.replace("old", "new")


def sweep(directory, *runs, steps=400):
    """Write results (task, seed, layer, score) as a sweep does."""
    for task, seed, layer, score in runs:
        prompt = {"method": "late_prompts", "length": 20, "layer": layer}
        training = {"steps": steps, "batch_size": 32, "optimizer": "adam", "learning_rate": 0.1, "schedule": "cosine"}
        rows = {"train": 2000, "validation": 500}
        run = {"backbone": "mini", "rows": rows, "prompt": prompt, "training": training, "seed": seed, "tasks": [task]}
        settings = {"experiment": "late_layers", "arm": "a", "x": layer, "task": task, "eval_task": task, "seed": seed}
        result = RunResult(
            **settings, metrics={}, score=score, step=100, seconds=1.0, backbone="mini", config={**settings, "run": run}
        )
        ResultStore(directory / "results").write(result)
    return directory


def test_results_of_several_sweeps_are_one_table(tmp_path):
    first = sweep(tmp_path / "1", ("trec", 1, 0, 80.0), ("trec", 1, "output", 75.0), ("sst2", 1, 0, 70.0))
    more = sweep(tmp_path / "2", ("trec", 2, 0, 84.0), ("rte", 1, "output", 60.0))

    late_layers.take([first, more], tmp_path)
    late_layers.take([more], tmp_path)

    assert late_layers.table(tmp_path).splitlines()[:4] == [
        "| layer | TREC | SST-2 | RTE |",
        "|---|---|---|---|",
        "| 0 (prompt tuning) | 82.0 ± 2.8 (2) | 70.0 |  |",
        "| after the encoder | 75.0 |  | 60.0 |",
    ]


@pytest.mark.parametrize(
    ("steps", "score", "message"),
    [(800, 84.0, "must have the same settings. Received: another one, trec"), (400, 81.0, "must have one score")],
)
def test_results_that_do_not_go_together_are_refused(tmp_path, steps, score, message):
    late_layers.take([sweep(tmp_path / "1", ("trec", 1, 0, 80.0))], tmp_path)
    before = (tmp_path / "late_layers.json").read_text()
    other = sweep(tmp_path / "2", ("trec", 1, 0, score), steps=steps)

    with pytest.raises(ValueError, match=message):
        late_layers.take([other], tmp_path)

    assert (tmp_path / "late_layers.json").read_text() == before


def family(directory, *runs, prompt=None):
    """Write results (method, task, seed, rate, score) as a sweep does."""
    for method, task, seed, rate, score in runs:
        training = {"steps": 200, "batch_size": 32, "optimizer": "adam", "learning_rate": rate, "schedule": "cosine"}
        run = {"backbone": "mini", "rows": {"train": 2000, "validation": 500}, "prompt": prompt or {"method": method}}
        run |= {"training": training, "seed": seed, "tasks": [task]}
        settings = {"experiment": method, "arm": "a", "x": rate, "task": task, "eval_task": task, "seed": seed}
        result = RunResult(
            **settings, metrics={}, score=score, step=100, seconds=1.0, backbone="mini", config={**settings, "run": run}
        )
        ResultStore(directory / "results").write(result)
    return directory


def test_a_methods_rate_is_the_best_one_of_the_first_seed(tmp_path):
    runs = [("lora", "trec", 1, 0.3, 22.0), ("lora", "trec", 1, 0.03, 70.0), ("lora", "trec", 1, 0.003, 80.0)]
    runs += [("lora", "trec", 2, 0.003, 84.0), ("lora", "trec", 2, 0.03, 99.0)]  # which chooses nothing
    runs += [("prompt_tuning", "rte", 1, 0.03, 60.0), ("prompt_tuning", "rte", 1, 0.3, 60.0)]  # the lower one

    methods_by_tasks.take([family(tmp_path / "1", *runs)], tmp_path)

    assert methods_by_tasks.table(tmp_path).splitlines()[:4] == [
        "| method | TREC | RTE |",
        "|---|---|---|",
        "| `prompt_tuning` |  | 60.0, 0.03 |",
        "| `lora` | 82.0 ± 2.8 (2), 0.003 |  |",
    ]


def test_seeds_of_what_shares_an_encoding_are_one_cell(tmp_path):
    lora, prompt = {"method": "lora", "rank": 8, "encoder": False}, {"method": "late_prompts", "length": 20}
    first = family(tmp_path / "1", ("lora", "trec", 1, 0.01, 80.0), ("lora", "trec", 2, 0.01, 84.0), prompt=lora)
    more = family(tmp_path / "2", ("late_prompts", "rte", 1, 1.0, 60.0), prompt=prompt)

    shared_encoding.take([first, more], tmp_path)

    assert shared_encoding.table(tmp_path).splitlines()[:4] == [
        "| what is trained | optimizer, rate | TREC | RTE |",
        "|---|---|---|---|",
        "| late prompt after the encoder, 20 vectors | Adam, 1 |  | 60.0 |",
        "| LoRA in the decoder, rank 8 | Adam, 0.01 | 82.0 ± 2.8 (2) |  |",
    ]


def test_costs_are_told_as_a_time_and_a_ratio(tmp_path):
    (tmp_path / "run").mkdir()
    figure = {"seconds": 0.12, "ratio": 1.5, "low": 1.4, "high": 1.625}
    kept = {"machine": {"processor": "Some CPU", "cores": 2, "tensorflow": "2.21.0"}, "load": [0.1, 2.0], "rounds": 9}
    kept |= {"file_bytes": {"lora": 12345, "vote of 5": 5000}, "step": {"lora": figure}}
    kept["served"] = {"lora, alone": figure, "vote of 5, alone": figure, "methods mixed": {**figure, "seconds": 0.2}}
    (tmp_path / "run" / "method_costs.json").write_text(json.dumps(kept))

    method_costs.take([tmp_path / "run"], tmp_path)

    lines = method_costs.table(tmp_path).splitlines()
    assert lines[2] == "| `lora` | 12.3 kB | 120 ms, 1.50 (1.40 to 1.62) | 120 ms, 1.50 (1.40 to 1.62) |"
    assert lines[3] == "| `vote of 5` | 5.0 kB |  | 120 ms, 1.50 (1.40 to 1.62) |"  # which is not trained as one
    assert lines[7] == "| methods mixed | 200 ms, 1.50 (1.40 to 1.62) |"


def test_the_cost_of_many_tasks_is_a_ratio_to_the_fewest(tmp_path):
    (tmp_path / "run").mkdir()
    seconds = {"adapters, 1": [1.0, 2.0, 1.0], "adapters, 40": [2.0, 5.0, 3.0]}
    seconds |= {"front, alone, both": [1.0, 1.0, 1.0], "front, alone, plain": [1.0, 2.0, 4.0]}
    kept = {
        "machine": {"processor": "Some CPU", "cores": 2, "tensorflow": "2.21.0"},
        "load": [0.1, 2.0],
        "shape": "small",
    }
    kept |= {"texts": 16, "tokens": 128, "kinds": ["adapters"], "tasks": [1, 40], "seconds": seconds}
    (tmp_path / "run" / "shared_texts.json").write_text(json.dumps(kept))

    shared_texts.take([tmp_path / "run"], tmp_path)

    lines = shared_texts.table(tmp_path).splitlines()
    assert lines[2:4] == ["| 1 | 1.00 s |  |", "| 40 | 3.00 s | 2.50 (2.00 to 3.00) |"]
    assert lines[7] == (
        "If no two texts are equal, prompts in front take 0.50 (0.25 to 1.00) times as long as in an export of them alone."
    )


@pytest.mark.parametrize("measurement", MEASUREMENTS.values(), ids=MEASUREMENTS)
def test_a_directory_without_results_is_refused(tmp_path, measurement):
    with pytest.raises(ValueError, match=rf"Received: {tmp_path}/none, which has none"):
        measurement.take([tmp_path / "none"], tmp_path)


def curve(path, *points):
    keys = ("step", "accuracy", "wall", "cpu")
    path.write_text(json.dumps({"curve": [dict(zip(keys, point, strict=True)) for point in points]}))


def test_seconds_to_pefts_best_are_those_of_the_first_point_that_reaches_it(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    curve(run / "ag_news_1_peft.json", (1, 0.5, 10.0, 20.0), (2, 0.4, 20.0, 40.0))
    curve(run / "ag_news_1_front.json", (1, 0.4, 5.0, 8.0), (2, 0.6, 9.0, 16.0))

    time_to_accuracy.take([run], tmp_path)

    assert time_to_accuracy.table(tmp_path).splitlines()[2:] == [
        "| AG News | PEFT's prompt tuning, 400 steps | 50.0 | 1 of 1 | 10 (20) | 20 (40) |",
        "| AG News | prompt in front, 400 steps | 60.0 | 1 of 1 | 9 (16) | 9 (16) |",
    ]
