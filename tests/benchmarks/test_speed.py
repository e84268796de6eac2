"""The pure parts of benchmarks/speed: figures by hand, and the protocol with a fake worker."""

import importlib
import io
import json
import sys

import pytest

from benchmarks.speed import comparison, epoch, growth, inputs, machine, plain_install
from benchmarks.speed.__main__ import known_results, main
from benchmarks.speed.cases import CASES, check_agreement
from benchmarks.speed.figures import Target, growth_exponent, quartiles, ratios, spread
from benchmarks.speed.options import Options
from benchmarks.speed.plots import write_plots
from benchmarks.speed.protocol import _command, serve
from benchmarks.speed.report import all_targets, markdown
from benchmarks.speed.work import flops

KINDS = ("training_step", "generate")
FOUND = {
    "agreement": "same tokens",
    "target": 1.4,
    "dtype": "float32",
    "ours_s": [0.1, 0.1],
    "peer_s": [0.2, 0.3],
    "speed": [2.0, 3.0],
    "share_of_product": [0.5, 0.6],
    "peer_share_of_product": [0.2, 0.3],
    "product_flops_per_s": [1.9e11, 2.1e11],
    "peak_mb": [1500.4, 800.6],
    "peak_of_rounds_mb": [1200.0, 750.0],
    "positions": [22000, 50000],
}


def test_quartiles_lie_between_the_values():
    assert quartiles([4.0, 1.0, 3.0, 2.0]) == (1.75, 2.5, 3.25)


def test_ratios_are_taken_round_by_round():
    assert ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]


def test_ratios_refuse_rounds_that_one_side_lacks():
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


def test_worker_prepares_runs_and_goes_on_after_an_error():
    calls = []
    requests = [{"do": "run"}, {"do": "prepare", "case": {"prompt": 3}}, {"do": "run"}]
    answers = io.StringIO()

    serve(
        lambda case: (lambda: calls.append(case), {"losses": [1.0]}),
        io.StringIO("".join(json.dumps(request) + "\n" for request in requests)),
        answers,
    )

    error, prepared, timed = map(json.loads, answers.getvalue().splitlines())
    assert "must come after `prepare`" in error["error"]
    assert prepared == {"losses": [1.0]}
    assert timed["seconds"] >= 0
    assert calls == [{"prompt": 3}]


def test_our_worker_does_not_find_what_a_plain_installation_lacks(monkeypatch):
    ran = []
    monkeypatch.setattr(plain_install.runpy, "run_module", lambda name, **_: ran.append((name, list(sys.argv))))
    monkeypatch.setattr(sys, "argv", ["plain_install", "our_worker", "more"])
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.delitem(sys.modules, "rouge_score", raising=False)

    plain_install.main()

    assert ran == [("benchmarks.speed.our_worker", ["our_worker", "more"])]
    with pytest.raises(ModuleNotFoundError, match="No module named 'rouge_score'"):
        importlib.import_module("rouge_score")


def test_our_side_alone_runs_as_in_a_plain_installation():
    assert _command("our", "python_of_peer")[1:] == ["-m", "benchmarks.speed.plain_install", "our_worker"]
    assert _command("peer", "python_of_peer") == ["python_of_peer", "-m", "benchmarks.speed.peer_worker"]


def test_table_row_shows_medians_and_the_ratio_of_rounds():
    row = "| step | same tokens | 100.0 | 250.0 | 2.50 (2.25 to 2.75) | 55% | 25% | 1500 / 801 | 1200 / 750 |"
    assert comparison.table_row("step", FOUND) == row
    assert epoch.table_row("SST-2", {**FOUND, "rows": 1024, "tokens": 20480}) == (
        "| SST-2 | 1,024 | 20,480 | 22,000 / 50,000 | 0.1 | 0.2 | 2.50 (2.25 to 2.75) | 55% | same tokens |"
    )


def test_targets_are_floors_of_speed_and_ceilings_of_time_and_memory():
    served_s = {key: [1.0, 1.0] for key in ("16 rows, direct, one task", "16 rows, gRPC, one task")}
    served_s |= {"16 rows, direct, mixed tasks": [1.01, 1.01], "16 rows, gRPC, mixed tasks": [1.2, 1.2]}
    served_s |= {key: [1.0, 1.0] for key in ("1 row, gRPC, one task", "1 row, direct, one task")}
    step = {**FOUND, "target": 2.0, "peak_of_rounds_mb": [900.0, 1000.0]}
    results = {"comparison": {"training step, prompt 20": step}, "epoch": {"by length": {**FOUND, "target": None}}}

    lines = [line.row() for line in all_targets({**results, "served": served_s})]

    assert lines == [
        "| training step, prompt 20: speed to PEFT's | at least 2 x | 2.50 (2.25 to 2.75) x | yes |",
        "| training step, prompt 20: share of a product's rate | at least 75% | 55% (52% to 57%) | no |",
        "| training step, prompt 20: peak memory of its process to PEFT's | at most 1 x | 0.90 (0.90 to 0.90) x | yes |",
        "| 16 rows, mixed tasks / one task, direct | at most 1.03 x | 1.01 (1.01 to 1.01) x | yes |",
        "| 16 rows, gRPC / direct call | at most 1.1 x | 1.19 (1.19 to 1.19) x | no |",
    ]
    assert not Target("nothing", 1.0, [float("nan")]).is_reached


def test_exponent_is_that_of_the_power_law():
    sizes = [1, 2, 8, 64]

    assert growth_exponent(sizes, [3 * size**1.5 for size in sizes]) == pytest.approx(1.5)
    assert growth_exponent(sizes, [7.0] * 4) == pytest.approx(0)


def test_growth_shows_sizes_and_exponents():
    points = [{"ours_s": [0.1 * k, 0.1 * k], "peer_s": [0.2 * k * k] * 2} for k in (1, 2, 4)]
    found = {"rows of a batch": {"names": ["1", "2", "4"], "sizes": [1, 2, 4], "points": points}}

    assert growth.table(found).splitlines()[2:] == [
        "| 1 | 100 | 200 | 2.00 (2.00 to 2.00) |",
        "| 2 | 200 | 800 | 4.00 (4.00 to 4.00) |",
        "| 4 | 400 | 3200 | 8.00 (8.00 to 8.00) |",
        "| exponent | 1.00 | 2.00 | |",
    ]


def test_tasks_show_costs_and_exponents():
    row = {"classify_s": 0.1, "load_s": 2.0, "resident_mb": 300.0, "ratio": 1.0, "quartiles": [0.9, 1.1]}

    lines = growth.tasks_table([{**row, "tasks": 1}, {**row, "tasks": 100, "resident_mb": 3000.0}]).splitlines()

    assert lines[2:] == [
        "| 1 | 100.0 | 2.00 | 300 | 1.000 (0.900 to 1.100) |",
        "| 100 | 100.0 | 2.00 | 3000 | 1.000 (0.900 to 1.100) |",
        "| exponent | 0.000 | 0.000 | 0.500 | |",
    ]


def test_report_and_plots_hold_the_parts_that_there_are(tmp_path):
    growing = {"names": ["1", "2"], "sizes": [1, 2], "points": [{"ours_s": [0.1], "peer_s": [0.2]}] * 2}
    here = {"processor": "A CPU", "matrix_units": "AVX2", "cores": 2, "threads": "2 and 2", "versions": {"torch": "2"}}
    half = {**FOUND, "dtype": "bfloat16", "product_flops_per_s": [1.2e12]}
    results = {
        "machine": here,
        "comparison": {"step": FOUND, "step, bfloat16": half},
        "growth": {"prompt length": growing},
    }

    text = markdown(results)
    files = write_plots(results, tmp_path)

    assert text.startswith(
        "A CPU, 2 cores, matrix units: AVX2, threads 2 and 2; torch 2.\n\n"
        "A matrix product, 3072 square: 200 GFLOP/s in float32, 1200 GFLOP/s in bfloat16.\n\n### Targets"
    )
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "### Targets",
        "### Beside PEFT and beside a matrix product",
        "### Growth",
    ]
    assert [file.name for file in files] == ["growth.svg", "speed.svg"]
    assert "exponent 0.00" in files[0].read_text()


def test_results_of_other_versions_are_dropped(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps({"machine": {"cores": 2}, "served": {"a": [1.0]}}))

    assert known_results(tmp_path / "results.json", {"cores": 2}) == {"machine": {"cores": 2}, "served": {"a": [1.0]}}
    assert known_results(tmp_path / "results.json", {"cores": 4}) == {"machine": {"cores": 4}}
    assert known_results(tmp_path / "none.json", {"cores": 4}) == {"machine": {"cores": 4}}


def test_spread_and_parameters_by_hand():
    assert spread([4.0, 1.0, 3.0, 2.0], ".3f") == "2.500 (1.750 to 3.250)"
    # mini: 4 layers of 3 attentions (4 matrices of 256 x 256) and 2 feed-forwards (3 of 256 x 512); table and head
    assert inputs.SHAPES["mini"].parameters == 4 * (12 * 256 * 256 + 6 * 256 * 512) + 2 * 8192 * 256


def test_sides_that_differ_are_not_timed():
    step, generation = (next(case for case in CASES if case.settings["kind"] == kind) for kind in KINDS)

    assert check_agreement(step, {"values": [1.0, 2.0]}, {"values": [1.0, 2.00005]}) == "5.0e-05 apart"
    with pytest.raises(RuntimeError, match=r"must agree within 0.0001. Received: \[1.0\] and \[1.001\]"):
        check_agreement(step, {"values": [1.0]}, {"values": [1.001]})
    with pytest.raises(RuntimeError, match="must agree within"):
        check_agreement(step, {"values": [float("nan")]}, {"values": [1.0]})
    with pytest.raises(ValueError, match="longer"):
        check_agreement(step, {"values": [1.0]}, {"values": [1.0, 2.0]})
    assert check_agreement(generation, {"ids": [[5, 6]]}, {"ids": [[5, 6]]}) == "same tokens"
    with pytest.raises(RuntimeError, match="must write the same"):
        check_agreement(generation, {"ids": [[5, 6]]}, {"ids": [[5, 7]]})


def test_sides_that_compute_in_bfloat16_agree_less():
    step, generation = (
        next(case for case in CASES if case.settings["kind"] == kind and case.dtype == "bfloat16") for kind in KINDS
    )

    assert step.settings["dtype"] == "bfloat16"
    assert check_agreement(step, {"values": [10.0]}, {"values": [10.0625]}) == "6.2e-02 apart"
    with pytest.raises(RuntimeError, match="must agree within 0.1"):
        check_agreement(step, {"values": [10.0]}, {"values": [10.25]})
    assert check_agreement(generation, {"ids": [[5, 6], [7, 8]]}, {"ids": [[5, 6], [7, 9]]}) == "75% of the tokens"


def test_cases_are_chosen_by_dtype(tmp_path):
    options = Options(tmp_path, "python", tmp_path, dtypes=["bfloat16"], only="training step")

    assert [case.name for case in comparison.chosen(options)] == [
        "training step, prompt 20, bfloat16",
        "training step, prompt 100, bfloat16",
        "training step, prompt 20, gradient checkpointing, bfloat16",
    ]


def test_matrix_units_are_named_the_fastest_first(monkeypatch):
    flags = "fpu avx2 avx512f amx_bf16"
    monkeypatch.setattr(machine.Path, "is_file", lambda path: True)
    monkeypatch.setattr(machine.Path, "read_text", lambda path, encoding: f"model name\t: A CPU\nflags\t\t: {flags}\n")

    assert machine.processor() == "A CPU"
    assert machine.matrix_units() == "AMX (bfloat16), AVX-512, AVX2"


def test_operations_are_those_counted_by_hand():
    """T5 1.1 Small: width 512, 6 heads of 64, feed-forward 1024, 8 layers, 32,128 rows in the head; one row of 3 + 5 tokens."""
    encoder = 8 * (
        4 * 2 * 8 * 512 * 384  # query, key, value, output
        + 2 * 2 * 8 * 8 * 384  # scores, weighted sum
        + 3 * 2 * 8 * 512 * 1024
    )
    decoder = 8 * (
        4 * 2 * 2 * 512 * 384
        + 2 * 2 * 2 * 2 * 384
        + (2 * 2 * 2 + 2 * 2 * 8) * 512 * 384  # query and output of 2 tokens, key and value of 8
        + 2 * 2 * 2 * 8 * 384
        + 3 * 2 * 2 * 512 * 1024
    )
    head = 2 * 2 * 512 * 32128
    states = 8 * 2 * 2 * 384 * (8 * 8 + 2 * 2 + 2 * 8)
    shape = {"rows": 1, "prompt": 3, "length": 5}

    assert flops({"kind": "generate", "tokens": 2, **shape}) == encoder + decoder + head
    assert flops({"kind": "training_step", "targets": 2, **shape}) == 2 * (encoder + decoder + head) + states
    assert flops({"kind": "generate", "tokens": 2, **shape, "rows": 7}) == 7 * (encoder + decoder + head)
    step = {"kind": "training_step", "rows": 1, "prompt": 3}
    rows = [flops({**step, "length": length, "targets": targets}) for length, targets in ((5, 2), (9, 1))]
    epoch_of_two = {"kind": "epoch", "rows": 16, "prompt": 3, "lengths": [5, 9], "target_lengths": [2, 1]}
    assert flops(epoch_of_two) == sum(rows)


def test_an_unknown_case_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--only", "sleep"])

    assert "no case has 'sleep' in its name; there are: training step, prompt 20; " in capsys.readouterr().err
