"""Planned and measured peaks of training: the figures of `benchmarks.planned_memory` in, a row for each process out.

benchmarks/results/planned_memory.json is the file that the benchmark writes. Plans are made again for the table, so that it shows
what the code says now.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.planned_memory import planned

NAME = "planned_memory"
TITLES = {"mini": "mini", "small": "T5 1.1 Small", "base": "T5 1.1 Base"}


def take(directories: Sequence[Path], results: Path) -> None:
    """Copy the figures.

    Args:
      directories: one directory, which has `planned_memory.json`.
      results: benchmarks/results.

    Raises:
      ValueError: if there is more than one directory, or no such file.
    """
    if len(directories) != 1 or not (directories[0] / f"{NAME}.json").is_file():
        raise ValueError(
            f"There must be one directory, with {NAME}.json. Received: {', '.join(map(str, directories))}, which has none."
        )
    shutil.copyfile(directories[0] / f"{NAME}.json", results / f"{NAME}.json")


def table(results: Path) -> str:
    """Return a row for each process: what it did, its peak, the plan, and how far that is off."""
    kept = json.loads((results / f"{NAME}.json").read_text(encoding="utf-8"))
    lines = [
        "| T5 | method | precision | rows × input × target tokens | measured | planned | off |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_row(case) for case in kept["cases"]]
    machine = kept["machine"]
    return "\n".join([*lines, "", f"{machine['cores']} cores, TensorFlow {machine['tensorflow']}."])


def draw(results: Path) -> None:
    """Draw nothing: the page has the table alone."""


def deviation(case: dict[str, Any]) -> float:
    """Return how far the plan is above the measured peak, as a share of that."""
    return float(planned(case).total_bytes / case["peak_bytes"] - 1)


def _row(case: dict[str, Any]) -> str:
    precision = f"{case['quantization']} of {case['dtype']}" if case["quantization"] else case["dtype"]
    how = ", recomputed" if case["gradient_checkpointing"] else ""
    if "micro_batch_size" in case:
        how += f", {case['micro_batch_size']} rows at a time"
    sizes = f"{case['rows']} × {case['length']} × {case['targets']}"
    peaks = f"{case['peak_bytes'] / 1e6:,.0f} MB | {planned(case).total_bytes / 1e6:,.0f} MB | {deviation(case):+.0%}"
    return f"| {TITLES[case['backbone']]} | `{case['method']}`{how} | {precision} | {sizes} | {peaks} |"
