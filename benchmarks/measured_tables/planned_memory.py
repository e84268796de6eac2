"""Planned and measured peaks of training: the figures of `benchmarks.planned_memory` in, a row for each process out.

benchmarks/results/planned_memory.json is the file that the benchmark writes. Plans are made again for the table, so that it shows
what the code says now.
"""

from typing import Any

from benchmarks.measured_tables.kept_file import KeptFile
from benchmarks.planned_memory import planned

NAME = "planned_memory"
TITLES = {"mini": "mini", "small": "T5 1.1 Small", "base": "T5 1.1 Base"}


def table_of(kept: dict[str, Any]) -> str:
    """Return a row for each process: what it did, its peak, the plan, and how far that is off."""
    lines = [
        "| T5 | method | precision | rows × input × target tokens | measured | planned | off |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_row(case) for case in kept["cases"]]
    machine = kept["machine"]
    return "\n".join([*lines, "", f"{machine['cores']} cores, TensorFlow {machine['tensorflow']}."])


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


KEPT = KeptFile(NAME, table_of)
