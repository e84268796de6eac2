"""Tables of measurements whose benchmark writes one file of figures: cells by hand, from small made-up figures."""

import json

import pytest

from benchmarks.measured_tables import speed
from benchmarks.measured_tables.__main__ import MEASUREMENTS

CONDITIONS = {"machine": {"processor": "Some CPU", "cores": 2, "tensorflow": "2.21.0"}, "load": [0.1, 2.0]}
CONDITIONS |= {"date": "2026-11-29"}


def write(path, figures):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(figures))


def taken(name, tmp_path):
    """Return the table after the results of tmp_path/run were taken."""
    MEASUREMENTS[name].take([tmp_path / "run"], tmp_path)
    return MEASUREMENTS[name].table(tmp_path)


def test_costs_are_told_as_a_time_and_a_ratio(tmp_path):
    figure = {"seconds": 0.12, "ratio": 1.5, "low": 1.4, "high": 1.625}
    kept = {**CONDITIONS, "rounds": 9, "file_bytes": {"lora": 12345, "vote of 5": 5000}, "step": {"lora": figure}}
    kept["served"] = {"lora, alone": figure, "vote of 5, alone": figure, "methods mixed": {**figure, "seconds": 0.2}}
    write(tmp_path / "run" / "method_costs.json", kept)

    lines = taken("method_costs", tmp_path).splitlines()
    assert lines[2] == "| `lora` | 12.3 kB | 120 ms, 1.50 (1.40 to 1.62) | 120 ms, 1.50 (1.40 to 1.62) |"
    assert lines[3] == "| `vote of 5` | 5.0 kB |  | 120 ms, 1.50 (1.40 to 1.62) |"  # which is not trained as one
    assert lines[7] == "| methods mixed | 200 ms, 1.50 (1.40 to 1.62) |"


def test_the_cost_of_many_tasks_is_a_ratio_to_the_fewest(tmp_path):
    seconds = {"adapters, 1": [1.0, 2.0, 1.0], "adapters, 40": [2.0, 5.0, 3.0]}
    seconds |= {"front, alone, both": [1.0, 1.0, 1.0], "front, alone, plain": [1.0, 2.0, 4.0]}
    kept = {
        **CONDITIONS,
        "shape": "small",
        "texts": 16,
        "tokens": 128,
        "kinds": ["adapters"],
        "tasks": [1, 40],
        "seconds": seconds,
    }
    write(tmp_path / "run" / "shared_texts.json", kept)

    lines = taken("shared_texts", tmp_path).splitlines()
    assert lines[2:4] == ["| 1 | 1.00 s |  |", "| 40 | 3.00 s | 2.50 (2.25 to 2.75) |"]
    assert lines[6] == (
        "3 interleaved rounds; 2 cores, Some CPU, TensorFlow 2.21.0; load 0.1 before, 2.0 after; 2026-11-29."
    )
    assert lines[7] == (
        "If no two texts are equal, prompts in front take 0.50 (0.38 to 0.75) times as long as in an export of them alone."
    )


def speed_results(*, cores=2, **parts):
    """Return what the benchmark writes: one case in both dtypes where nothing else is said."""
    case = {"agreement": "same tokens", "target": 1.4, "dtype": "float32", "ours_s": [0.1, 0.1], "peer_s": [0.2, 0.3]}
    case |= {"speed": [2.0, 3.0], "flops": 1.5e9, "share_of_product": [0.5, 0.6], "peer_share_of_product": [0.2, 0.3]}
    case |= {"product_flops_per_s": [2e11, 2e11], "peak_mb": [1500.0, 800.0], "peak_of_rounds_mb": [1200.0, 800.0]}
    half = {**case, "dtype": "bfloat16", "speed": [3.0, 3.00000001], "peak_of_rounds_mb": [600.0, 800.0]}
    here = {"processor": "Some CPU", "matrix_units": "AVX2", "cores": cores, "threads": "2 and 2"}
    here |= {"system": "Linux", "versions": {"torch": "2"}}
    parts = parts or {"comparison": {"generation": case, "generation, bfloat16": half}}
    conditions = {part: {"load": [0.1, 2.0], "date": "2026-11-29"} for part in parts}
    return {"machine": here, "conditions": conditions, **parts}


START = {"import": [1.0], "load": [1.0], "first answer": [1.0], "second answer": [1.0]}
COLD_START = {"ours": {**START, "process": [8.0]}, "peer": {**START, "process": [4.0]}}


def test_speed_is_a_row_for_each_case_with_both_dtypes(tmp_path):
    write(tmp_path / "run" / "results.json", speed_results())
    speed.take([tmp_path / "run"], tmp_path)
    write(tmp_path / "run" / "results.json", speed_results(cold_start=COLD_START))

    lines = taken("speed", tmp_path).splitlines()

    assert lines[2:4] == [
        "| generation | 2.50 (2.25 to 2.75) | 1.50 | 3.00 (3.00 to 3.00) | 0.75 |",
        "| start of a process to its second answer (float32) | 0.50 (0.50 to 0.50) | | | |",
    ]
    assert lines[6] == "above 1, ours needs more. 2 interleaved rounds; load 0.1 before, 2.0 after; 2026-11-29."
    assert "200 GFLOP/s in float32, 200 GFLOP/s in bfloat16" in lines[8]
    parts = speed.part_tables(tmp_path)
    assert parts["speed_comparison"].count("| generation | same tokens | 100.0 | 250.0 |") == 2
    assert parts["speed_targets"].splitlines()[3].endswith("| at least 1.4 x | 3.00 (3.00 to 3.00) x | yes |")
    assert parts["speed_cold_start"].endswith("\nSome CPU, 2 cores; load 0.1 before, 2.0 after; 2026-11-29.")
    assert parts["speed_growth"] is None


def test_kept_speed_has_a_line_for_each_case(tmp_path):
    write(tmp_path / "run" / "results.json", speed_results())

    speed.take([tmp_path / "run"], tmp_path)

    lines = (tmp_path / "speed.json").read_text().splitlines()
    assert len(lines) == 1 + (1 + 5 + 1) + (1 + 1 + 1) + (1 + 2 + 1) + 1
    assert '"speed": [3.0, 3.0]' in lines[13]


def test_speed_of_another_machine_replaces_all_that_was_kept(tmp_path):
    write(tmp_path / "run" / "results.json", speed_results())
    speed.take([tmp_path / "run"], tmp_path)
    write(tmp_path / "run" / "results.json", speed_results(cores=4, cold_start=COLD_START))

    speed.take([tmp_path / "run"], tmp_path)

    assert speed.table(tmp_path) is None
    assert speed.part_tables(tmp_path)["speed_comparison"] is None


KINDS = [f"{rows}, {how}, one task" for rows in ("1 row", "16 rows") for how in ("direct", "gRPC")]
KINDS += [f"16 rows, {how}, mixed tasks" for how in ("direct", "gRPC")]
COUNT = {"load_s": 0.5, "classify_s": 0.1, "ratio": 1.0, "quartiles": [0.9, 1.1]}
COUNTS = [{**COUNT, "tasks": 1, "prompts_mb": 0.1, "resident_mb": 500.0}]
COUNTS += [{**COUNT, "tasks": 100, "prompts_mb": 6.1, "resident_mb": 507.0}]
COUNTS += [{**COUNT, "tasks": 1000, "prompts_mb": 60.1, "resident_mb": 575.0}]
ADD = {"layers": 12, "export_mb": 995.0, "add_s": 0.03, "add_in_a_new_process_s": 4.4, "add_and_verify_s": 31.0}
ADD |= {"prompt_kb": 61.4, "new_kb": 85.0}
COLD, WARM = {"classify, 1": [1.2, 0.01]}, {"classify, 1": [0.015, 0.01]}
LOADS = {
    f"{loader}, {kind}": [each] for loader in ("local", "c_api") for kind, each in (("cold", COLD), ("warm", WARM))
}
LATENCIES = {"count": 17398, "p50": 706.4, "p95": 1460.0, "p99": 1801.0, "longest": 3154.0}
LOADED = {"format": "hugging_face", "dtype": "bfloat16", "peak_bytes": 110_000_000, "weight_bytes": 100_000_000}
FIGURES = {
    "served_batch": (
        {
            "backbone": "mini",
            "rounds": 2,
            "size": {"export": 42_000_000, "weights": 39_900_000, "prompts": 100_000},
            "seconds": {kind: [0.2, 0.4] if "mixed" in kind else [0.1, 0.2] for kind in KINDS},
        },
        "| 16 rows, mixed tasks / one task, direct | 2.000 (2.000 to 2.000) |",
        "The export has 42.0 MB, 5.0 % more than its weights and prompts.",
    ),
    "length_groups": (
        {"backbone": "mini", "rounds": 2, "seconds": {"all 64": {"whole": [0.2, 0.6], "grouped": [0.1, 0.2]}}},
        "| all 64 | 400.0 | 150.0 | 2.50 (2.25 to 2.75) |",
    ),
    "many_tasks": (
        {"layers": 2, "rounds": 30, "counts": COUNTS, "add": ADD},
        "| 100 | 0.50 s | 507 MB |  | 100.0 ms | 1.00 (0.90 to 1.10) |",
        "| 1,000 | 0.50 s | 575 MB | 1.250 | 100.0 ms | 1.00 (0.90 to 1.10) |",
        "| written, for a prompt of 61 kB | 85 kB |",
    ),
    "first_request": (
        {"rounds": 9, "number_of_loads": 1, "loads": LOADS},
        "| `classify`, 1 | 1,200 ms, 120.00 | 15.0 ms, 1.50 | 1,200 ms, 120.00 | 15.0 ms, 1.50 |",
    ),
    "soak": (
        {"minutes": 30.0, "clients": 16, "latencies": {"classify": LATENCIES}, "counts": {"right answers": 85650}}
        | {"memory_mb": [1877.2, 1979.0]},
        "| `classify` | 17,398 | 706 ms | 1,460 ms | 1,801 ms | 3,154 ms |",
        "Counts: right answers 85,650. Median memory of the server: 1,877 MB in the first half, 1,979 MB in the second.",
    ),
    "ensemble_cost": (
        {"backbone": "mini", "rounds": 2, "members": 5, "rows": 8}
        | {"seconds": {"Python, classify": {"ensemble": [0.2, 0.6], "batch": [0.1, 0.2]}}},
        "| Python | `classify` | 400.0 ms | 150.0 ms | 2.50 (2.25 to 2.75) |",
    ),
    "load_memory": (
        {
            "loads": [
                {**LOADED, "shape": "base", "quantization": None},
                {**LOADED, "shape": "large", "quantization": None, "peak_bytes": 125_000_000},
                {**LOADED, "shape": "base", "quantization": "int8"},
            ]
        },
        "| T5 1.1, float16 files, loaded as | Base | Large |",
        "| bfloat16 | 110 / 100 = 1.10 | 125 / 100 = 1.25 |",
        "| int8 of bfloat16 | 110 / 100 = 1.10 |  |",
    ),
    "process_floor": (
        {
            kind: {
                side: [{"resident": 10.0 * k + side_mb + kind_mb * (k == 5), "of_files": k} for k in range(1, 6)]
                for side, side_mb in (("ours", 1000.2), ("peer", 2.0), ("ours_with_extras", 3.0))
            }
            for kind, kind_mb in (("generate", 0), ("training_step", 200))
        },
        "| Python itself | 1,010 | 1 | 12 | 1 | 13 | 1 |",
        "| the weights | 1,040 | 4 | 42 | 4 | 43 | 4 |",
        "| a first answer | 1,050 | 5 | 52 | 5 | 53 | 5 |",
        "| three training steps instead | 1,250 | 5 | 252 | 5 | 253 | 5 |",
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_of_a_benchmark_become_its_table(tmp_path, name):
    figures, *lines = FIGURES[name]
    write(tmp_path / "run" / f"{name}.json", {**CONDITIONS, **figures})

    table = taken(name, tmp_path)

    assert [line for line in lines if line not in table.splitlines()] == []
    assert "2 cores, Some CPU, TensorFlow 2.21.0; load 0.1 before, 2.0 after; 2026-11-29." in table
