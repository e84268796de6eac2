"""Tables and plots of the measurements' pages are those of the result files."""

import json
import re

import pytest

from benchmarks.measured_tables import (
    batch_growth,
    late_builds,
    late_equal_seconds,
    late_layers,
    late_seconds,
    methods_by_tasks,
    precision,
    prodigy,
    shared_encoding,
    time_to_accuracy,
)
from benchmarks.measured_tables.__main__ import MEASUREMENTS, PAGES, RESULTS, all_tables
from benchmarks.measured_tables.pages import written_page
from benchmarks.time_to_accuracy.__main__ import RATES, RUNS
from benchmarks.time_to_accuracy.curves import SIDES
from softprompt_tf.experiments.results import ResultStore, RunResult

TEXTS = {page.name: page.read_text(encoding="utf-8") for page in PAGES.glob("*.md")}


@pytest.fixture(scope="module")
def tables():
    return all_tables()


def test_pages_are_as_the_command_writes_them(tables):
    assert [name for name, text in TEXTS.items() if written_page(text, tables) != text] == []


def test_every_table_is_on_a_page(tables):
    named = [name for text in TEXTS.values() for name in re.findall("<!-- table: (.*) -->", text)]

    assert sorted(named) == sorted(tables)


def test_the_plot_is_of_the_results_that_the_table_is_of():
    plot = (RESULTS / "late_layers.svg").read_text(encoding="utf-8")

    assert plot.endswith(late_layers.made_from(RESULTS) + "\n")


def test_a_table_takes_the_place_of_the_one_before():
    page = "a\n<!-- table: x -->\n\nold\n\n<!-- end of table -->\nb\n"

    assert written_page(page, {"x": "new"}) == page.replace("old", "new")


def test_a_page_keeps_its_table_where_nothing_is_measured_yet():
    page = "a\n<!-- table: x -->\n\nolder\n\n<!-- end of table -->\nb\n"

    assert written_page(page, {"x": None}) == page


def sweep(directory, *runs, steps=400, backbone="mini", experiment="late_layers"):
    """Write results (task, seed, layer, score) as a sweep does."""
    for task, seed, layer, score in runs:
        prompt = {"method": "late_prompts", "length": 20, "layer": layer}
        training = {"steps": steps, "batch_size": 32, "optimizer": "adam", "learning_rate": 0.1, "schedule": "cosine"}
        rows = {"train": 2000, "validation": 500}
        run = {
            "backbone": backbone,
            "rows": rows,
            "prompt": prompt,
            "training": training,
            "seed": seed,
            "tasks": [task],
        }
        settings = {"experiment": experiment, "arm": "a", "x": layer, "task": task, "eval_task": task, "seed": seed}
        result = RunResult(
            **settings,
            metrics={},
            score=score,
            step=100,
            seconds=1.0,
            backbone=backbone,
            config={**settings, "run": run},
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


def test_builds_of_mini_stand_in_the_order_of_their_tokens(tmp_path):
    assert late_builds.table(tmp_path) is None
    now = sweep(tmp_path / "1", ("trec", 1, 0, 80.0), ("trec", 2, 0, 84.0), ("trec", 1, "output", 75.0))
    before = sweep(tmp_path / "2", ("trec", 1, 0, 60.0), ("trec", 1, 2, 50.0), backbone="mini_22m")

    late_builds.take([now, before], tmp_path)

    assert late_builds.table(tmp_path).splitlines() == [
        "| tokens seen | in front | layer 2 | after the encoder |",
        "|---|---|---|---|",
        "| 22 million | 60.0 | 50.0 |  |",
        "| 150 million | 82.0 ± 2.8 (2) |  | 75.0 |",
    ]


def test_late_prompts_with_more_steps_stand_below_those_in_front(tmp_path):
    assert late_equal_seconds.table(tmp_path) is None
    front = sweep(tmp_path / "1", ("trec", 1, 0, 80.0), ("trec", 2, 0, 84.0), ("trec", 1, "output", 70.0))
    longer = sweep(tmp_path / "2", ("trec", 1, "output", 75.0), steps=1400, experiment="trec_output")
    late_layers.take([front], tmp_path)

    late_equal_seconds.take([longer], tmp_path)

    assert late_equal_seconds.table(tmp_path).splitlines() == [
        "| layer | TREC | steps |",
        "|---|---|---|",
        "| 0 (prompt tuning) | 82.0 ± 2.8 (2) | 400 |",
        "| 2 |  |  |",
        "| 3 |  |  |",
        "| after the encoder | 75.0 | 1,400 |",
    ]


def test_a_step_of_a_late_prompt_is_compared_with_one_in_front_of_the_same_round():
    seconds = [(0.1, 0.08, 0.06, 0.04, 0.02), (0.2, 0.16, 0.12, 0.08, 0.08), (0.4, 0.32, 0.24, 0.16, 0.08)]
    rounds = [dict(zip(("0", "1", "2", "3", "output"), each, strict=True)) for each in seconds]
    tasks = [
        {"task": name, "rows": 2000, "encoding_s": {"output": 3.0}, "rounds_s": rounds}
        for name in ("trec", "glue_sst2")
    ]
    machine = {"processor": "P", "cores": 2, "tensorflow": "2.21.0"}

    table = late_seconds.table_of({"machine": machine, "load": [0.0, 1.0], "date": "2026-11-30", "tasks": tasks})

    assert table.splitlines()[:3] == [
        "| layer | TREC, ms | ratio | SST-2, ms | ratio |",
        "|---|---|---|---|---|",
        "| 0 (prompt tuning) | 200 |  | 200 |  |",
    ]
    assert table.splitlines()[6] == "| after the encoder | 80 | 0.20 (0.20 to 0.30) | 80 | 0.20 (0.20 to 0.30) |"
    assert table.splitlines()[8].endswith("that takes 1.50 ms of TREC and 1.50 ms of SST-2.")


def family(directory, *runs, prompt=None, **changed):
    """Write results (method, task, seed, rate, score) as a sweep does."""
    for method, task, seed, rate, score in runs:
        training = {"steps": 200, "batch_size": 32, "optimizer": "adam", "learning_rate": rate, "schedule": "cosine"}
        training |= {"warmup_steps": 20, **changed}
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
    runs += [("ia3", "trec", 1, 0.03, 60.0), ("ia3", "trec", 1, 0.3, 60.0)]  # the lower one
    runs += [("lora", "rte", 1, 0.003, 55.0), ("ia3", "rte", 1, 0.3, 99.0)]  # at another rate, which has no cell
    runs += [("prompt_tuning", "rte", 1, 0.3, 60.0)]  # whose rate is not known

    methods_by_tasks.take([family(tmp_path / "1", *runs)], tmp_path)

    assert methods_by_tasks.table(tmp_path).splitlines()[:4] == [
        "| method | rate | TREC | RTE |",
        "|---|---|---|---|",
        "| `lora` | 0.003 | 82.0 ± 2.8 (2) | 55.0 |",
        "| `ia3` | 0.03 | 60.0 |  |",
    ]


def test_prodigy_stands_beside_the_chosen_rate_with_the_same_seeds(tmp_path):
    runs = [("ia3", "trec", 1, 0.3, 85.0), ("ia3", "trec", 1, 0.03, 78.0), ("ia3", "trec", 2, 0.3, 83.0)]
    methods_by_tasks.take([family(tmp_path / "1", *runs, ("ia3", "rte", 1, 0.3, 60.0))], tmp_path)
    found = family(tmp_path / "2", ("ia3", "trec", 1, 1.0, 80.0), ("ia3", "rte", 2, 1.0, 55.0), optimizer="prodigy")
    steady = family(tmp_path / "3", ("ia3", "trec", 1, 1.0, 81.0), optimizer="prodigy", warmup_steps=0)
    longer = family(tmp_path / "4", ("prompt_tuning", "trec", 1, 1.0, 79.0), optimizer="prodigy", steps=400)

    prodigy.take([found, steady, longer], tmp_path)

    assert prodigy.table(tmp_path).splitlines()[:6] == [
        "| method, steps | optimizer | TREC | RTE |",
        "|---|---|---|---|",
        "| `prompt_tuning`, 400 | Prodigy | 79.0 |  |",
        "| `ia3`, 200 | Prodigy, no warm-up | 81.0 |  |",
        "| `ia3`, 200 | Prodigy | 80.0 | 55.0 |",
        "| `ia3`, 200 | Adam at 0.3 | 85.0 |  |",
    ]


def test_growing_batches_stand_below_steady_ones():
    runs = [("trec", "32", 1, [0.5, 0.75]), ("trec", "32", 2, [0.7, 0.75]), ("sst2", "8, 32", 1, [0.6, 0.625])]
    scores = [dict(zip(("task", "batch", "seed", "scores"), run, strict=True)) for run in runs]
    training = {"optimizer": "adam", "learning_rate": 0.01, "schedule": "cosine"}

    table = batch_growth.table_of({"scored_every": 1_600, "rows": 3_200, "training": training, "scores": scores})

    assert table.splitlines()[:4] == [
        "| task | rows of a batch | 1,600 rows | 3,200 rows |",
        "|---|---|---|---|",
        "| TREC | 32 | 60.0 ± 14.1 (2) | 75.0 ± 0.0 (2) |",
        "| SST-2 | 8, 32 | 60.0 | 62.5 |",
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


def test_precisions_are_compared_seed_by_seed(tmp_path):
    runs = [("trec", 1, "float32", 80.0), ("trec", 2, "float32", 84.0), ("trec", 1, "bfloat16", 81.0)]
    runs += [("trec", 2, "bfloat16", 83.0), ("sst2", 1, "bfloat16", 70.0)]
    for task, seed, dtype, score in runs:
        training = {
            "steps": 400,
            "batch_size": 32,
            "optimizer": "adafactor",
            "learning_rate": 1.0,
            "schedule": "cosine",
        }
        run = {"backbone": "mini", "rows": {"train": 20000, "validation": 500}, "prompt": {"length": 20}}
        run |= {"training": {**training, "precision": dtype}, "seed": seed, "tasks": [task]}
        settings = {"experiment": "precision", "arm": "a", "x": dtype, "task": task, "eval_task": task, "seed": seed}
        result = RunResult(
            **settings, metrics={}, score=score, step=100, seconds=1.0, backbone="mini", config={**settings, "run": run}
        )
        ResultStore(tmp_path / "run" / "results").write(result)

    precision.take([tmp_path / "run"], tmp_path)

    assert precision.table(tmp_path).splitlines()[:4] == [
        "| task | float32 | bfloat16 | difference, seed by seed |",
        "|---|---|---|---|",
        "| TREC | 82.0 ± 2.8 (2) | 82.0 ± 1.4 (2) | 0.0 ± 1.4 (2) |",
        "| SST-2 | – | 70.0 | – |",
    ]


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


def test_the_best_rate_of_each_of_pefts_methods_counts(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    curve(run / "trec_1_peft.json", (1, 0.5, 10.0, 20.0))
    curve(run / "trec_1_peft_lora_0.003.json", (1, 0.6, 10.0, 20.0), (2, 0.7, 30.0, 60.0))
    curve(run / "trec_1_peft_lora_0.01.json", (1, 0.65, 5.0, 9.0), (2, 0.6, 25.0, 50.0))
    curve(run / "trec_1_ia3_decoder.json", (1, 0.6, 4.0, 6.0), (2, 0.8, 8.0, 12.0))
    curve(run / "trec_1_lora.json", (1, 0.4, 4.0, 6.0))
    curve(run / "trec_2_peft.json", (1, 0.3, 20.0, 40.0))  # PEFT's other methods had no such seed
    curve(run / "trec_2_ia3_decoder.json", (1, 0.4, 2.0, 4.0))
    (run / "trec_1_case.json").write_text("{}")

    time_to_accuracy.take([run], tmp_path)

    assert time_to_accuracy.table(tmp_path).splitlines() == [
        "| task | | best dev accuracy | seeds that reach the best of PEFT's prompt tuning | seconds to it (CPU) "
        "| seeds that reach the best of all of PEFT's runs | seconds to it (CPU) | seconds of the run (CPU) |",
        "|---|---|---|---|---|---|---|---|",
        "| TREC | PEFT's prompt tuning, 400 steps | 40.0 | 2 of 2 | 15 (30) | 0 of 1 |  | 15 (30) |",
        "| TREC | PEFT's LoRA, 400 steps, the best of its rates | 70.0 | 1 of 1 | 10 (20) | 1 of 1 | 30 (60) | 30 (60) |",
        "| TREC | (IA)^3 in the decoder, cached states, 400 steps | 60.0 | 2 of 2 | 3 (5) | 1 of 1 | 8 (12) | 5 (8) |",
        "| TREC | LoRA, 400 steps | 40.0 | 0 of 1 |  | 0 of 1 |  | 4 (6) |",
    ]


def test_every_side_of_the_benchmark_has_a_name_in_the_table():
    assert list(RUNS) == list(SIDES)
    assert set(RATES) <= set(SIDES)
