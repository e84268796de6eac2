"""The curves that are read from the logs of runs that went on from each other."""

import importlib.util
import json
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "loss_curves.py"


def load_script():
    spec = importlib.util.spec_from_file_location("loss_curves", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_log(directory, *entries):
    directory.mkdir()
    (directory / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    return directory


def test_tokens_of_the_first_run_count_for_the_second(tmp_path):
    first = write_log(
        tmp_path / "first",
        {"step": 10, "num_tokens": 100, "loss": {"prefix_lm": 9.0}},
        {"step": 10, "held_out": {"prefix_lm": 8.0}},
        {"step": 20, "num_tokens": 250, "loss": {"prefix_lm": 7.5}},
        {"step": 20, "held_out": {"prefix_lm": 7.0}},
    )
    second = write_log(
        tmp_path / "second",
        {"step": 5, "num_tokens": 40, "loss": {"prefix_lm": 6.5}},
        {"step": 5, "held_out": {"prefix_lm": 6.0, "instructions": 2.0}},
    )

    curves = load_script().read_curves([first, second])

    assert curves == {"prefix_lm": [(100, 8.0), (250, 7.0), (290, 6.0)], "instructions": [(290, 2.0)]}


def test_bits_per_byte_are_a_curve_of_their_own_behind_the_tokens_of_before(tmp_path):
    run = write_log(
        tmp_path / "run",
        {"step": 0, "num_tokens": 0, "held_out": {"prefix_lm": 8.0}, "bits_per_byte": 2.5},
        {"step": 10, "num_tokens": 100, "loss": {"prefix_lm": 7.0}},
        {"step": 15, "num_tokens": 160, "bits_per_byte": 2.25},
    )

    curves = load_script().read_curves([run], tokens_before=1000)

    assert curves == {"prefix_lm": [(1000, 8.0)], "bits_per_byte": [(1000, 2.5), (1160, 2.25)]}
