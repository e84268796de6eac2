"""Milliseconds of a step by the encoder layer where a prompt enters: the figures of `benchmarks.late_seconds` in, a table out."""

import statistics
from typing import Any

from benchmarks.conditions import told
from benchmarks.measured_tables.kept_file import KeptFile
from benchmarks.measured_tables.late_layers import layer_name
from benchmarks.measured_tables.task_names import TASK_NAMES
from benchmarks.speed.figures import spread

NAME = "late_seconds"
LAYERS: tuple[int | str, ...] = (0, 1, 2, 3, "output")


def table_of(kept: dict[str, Any]) -> str:
    """Return a row for each layer: milliseconds of a step, and their ratio to a step in front with its quartiles, of each task."""
    heads = [head for task in kept["tasks"] for head in (f"{_name(task)}, ms", "ratio")]
    lines = [f"| layer | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    for layer in LAYERS:
        cells = [cell for task in kept["tasks"] for cell in _cells(task, str(layer))]
        lines.append(f"| {layer_name(layer)} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_conditions(kept)])


def _cells(task: dict[str, Any], layer: str) -> tuple[str, str]:
    rounds = task["rounds_s"]
    milliseconds = f"{1000 * statistics.median(each[layer] for each in rounds):.0f}"
    return milliseconds, "" if layer == "0" else spread([each[layer] / each["0"] for each in rounds])


def _name(task: dict[str, Any]) -> str:
    return TASK_NAMES[task["task"].removeprefix("glue_")]


def _conditions(kept: dict[str, Any]) -> list[str]:
    encoding = [
        f"{1000 * task['encoding_s']['output'] / task['rows']:.2f} ms of {_name(task)}" for task in kept["tasks"]
    ]
    return [
        "Before that, each text is encoded once. After the encoder, that takes "
        f"{', '.join(encoding[:-1])} and {encoding[-1]}.",
        told(kept),
    ]


KEPT = KeptFile(NAME, table_of)
