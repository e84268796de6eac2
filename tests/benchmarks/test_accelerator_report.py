"""The reports of benchmarks/accelerator, from results made up by hand."""

import pytest
from accelerator_fakes import STEP

from benchmarks.accelerator.report import main as write_reports
from benchmarks.accelerator.report import markdown
from benchmarks.accelerator.written import read_json, write_json

DEVICE = {
    "accelerator": "NVIDIA X, 81559 MiB, 580",
    "processor": "a processor",
    "cores": 16,
    "date": "2026-01-02",
    "versions": {"Python": "3.12.3", "jax": "0.11.2"},
}


def a_case(**changes):
    """Return what a case that went well has found: 2 ms and 3 ms a step, 1e9 operations."""
    return {
        "settings": STEP.settings,
        "name": STEP.name,
        "failed": {},
        "seconds": {"our": [0.002, 0.002], "peer": [0.003, 0.003]},
        "peak_bytes": {"our": 2e9, "peer": 3e9},
        "prepared": {"our": {"compile_s": 9.0, "device": "GPU X"}, "peer": {"device": "GPU X", "versions": "torch 2"}},
        "flops": 1e9,
        "agreement": {"losses_apart": 1e-6, "is_close": True},
        **changes,
    }


def a_speed_section(*cases):
    product = {"settings": {"size": 8192}, "flops": 1e12, "seconds": {"our": [0.25], "peer": [1.0]}, "failed": {}}
    return {"cases": list(cases), "matrix": {"float32": product}, "left_out": ["another"]}


def test_report_shows_medians_ratios_shares_and_peaks():
    text = markdown({"device": DEVICE, "speed": a_speed_section(a_case())})

    row = (
        "| small | float32, TF32 off | training step | 20 | 32 x 128 | 2.00 | 3.00 | 1.50 (1.50 to 1.50) | 12.5% | 8.3% | "
        "2.00 / 3.00 | 9.0 | losses 1.0e-06 apart |"
    )
    assert row in text.splitlines()
    assert "| float32, TF32 off | 8192 | 4.0 | 1.0 |" in text.splitlines()
    assert "JAX ran on: GPU X. PyTorch ran on: GPU X (torch 2)." in text
    assert "Left out for lack of time: another." in text


def test_report_marks_a_peak_that_an_earlier_case_set():
    later = a_case(peak_bytes={"our": None, "peer": 1e9})

    text = markdown({"speed": a_speed_section(a_case(), later)})

    assert "| ≤ 2.00 / 1.00 |" in text


def test_report_shows_a_side_that_failed():
    failed = a_case(failed={"peer": "out of memory"}, seconds={"our": [0.002]}, peak_bytes={"our": 2e9}, agreement={})
    failed["prepared"] = {"our": failed["prepared"]["our"], "peer": None}

    text = markdown({"speed": a_speed_section(failed)})

    assert "| 2.00 | - | - | 12.5% | - | 2.00 / - | 9.0 | - |" in text
    assert f"Failed: {STEP.name}, peer: out of memory." in text


@pytest.mark.parametrize(
    ("relative", "same_weights", "verdict"), [(5e-5, True, "yes"), (2e-4, True, "no"), (5e-5, False, "other weights")]
)
def test_report_says_whether_answers_agree(relative, same_weights, verdict):
    parts = {key: {"absolute": 0.5, "relative": relative} for key in ("loss", "logits", "scores", "gradient")}
    found = {**parts, "equal_tokens": 1.0, "gradient_cosine": 1.0}
    case = {"model": "small", "precision": "float32", "same_weights": same_weights, "device": "GPU X"}

    text = markdown({"parity": {"cases": [{**case, "against": {"float32": found}}], "failed": {"base tf32": "why"}}})

    assert f"| 1.000000 | 100% | {verdict} |" in text
    assert "Failed: base tf32: why." in text


def test_report_of_nothing_says_so(tmp_path):
    write_reports(tmp_path)

    assert (tmp_path / "results.md").read_text().count("No results.") == 2
    assert read_json(tmp_path / "results.json") == {"device": None, "parity": None, "speed": None}


def test_damaged_file_of_a_section_is_no_result(tmp_path):
    (tmp_path / "speed.json").write_text('{"cases": [')
    write_json(tmp_path / "device.json", DEVICE)

    write_reports(tmp_path)

    assert (
        (tmp_path / "results.md").read_text().startswith("NVIDIA X, 81559 MiB, 580; a processor, 16 cores; 2026-01-02.")
    )
