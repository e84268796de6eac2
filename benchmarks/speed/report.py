"""Results of the parts in, one Markdown text out: the machine, targets beside what was measured, a table for each part.

The tables are those of docs/measurements/speed.md too: see benchmarks/measured_tables/speed.py.
"""

from collections.abc import Callable
from typing import Any

from benchmarks.conditions import told_load
from benchmarks.speed import cold_start, comparison, epoch, growth, precision, served
from benchmarks.speed.figures import Target, quartiles

TABLES: dict[str, tuple[str, Callable[[Any], str]]] = {
    "comparison": ("Beside PEFT and beside a matrix product", comparison.table),
    "epoch": ("An epoch of real rows", epoch.table),
    "served": ("Served requests", served.table),
    "cold_start": ("From a cold start to the first answer", cold_start.table),
    "growth": ("Growth", growth.table),
    "tasks": ("Growth with the number of tasks", growth.tasks_table),
    "precision": ("bfloat16 and int8", precision.table),
}


def markdown(results: dict[str, Any]) -> str:
    """Return the whole report."""
    blocks = [machine_line(results["machine"]), product_line(results)]
    if targets := targets_table(results):
        blocks.append(f"### Targets\n\n{targets}")
    blocks += [
        f"### {title}\n\n{part_table(results, name)}" for name, (title, _) in TABLES.items() if results.get(name)
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def part_table(results: dict[str, Any], name: str) -> str:
    """Return the table of a part, and below it under what load and when it was measured."""
    table = TABLES[name][1](results[name])
    conditions = results.get("conditions", {}).get(name)
    return f"{table}\n\n{told_processor(results)}; {told_load(conditions)}." if conditions else table


def told_processor(results: dict[str, Any]) -> str:
    """Name the processor and its cores."""
    return f"{results['machine']['processor']}, {results['machine']['cores']} cores"


def targets_table(results: dict[str, Any]) -> str:
    """Return every target beside what was measured; nothing where no part has a target."""
    lines = [line.row() for line in all_targets(results)]
    head = "| | target | measured, median (quartiles) | reached |\n|---|---|---|---|"
    return "\n".join([head, *lines]) if lines else ""


def all_targets(results: dict[str, Any]) -> list[Target]:
    """Return every target for which there is a result."""
    parts = {"comparison": comparison.targets, "epoch": epoch.targets, "served": served.targets}
    return [line for name, lines in parts.items() if results.get(name) for line in lines(results[name])]


def machine_line(machine: dict[str, Any]) -> str:
    """Name processor, cores, matrix units, threads and versions in one line."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    units = f"matrix units: {machine['matrix_units']}"
    return f"{machine['processor']}, {machine['cores']} cores, {units}, threads {machine['threads']}; {versions}."


def product_line(results: dict[str, Any]) -> str:
    """Say what the machine's matrix product reached in each dtype, over all comparisons."""
    rates: dict[str, list[float]] = {}
    for case in (results.get("comparison") or {}).values():
        rates.setdefault(case["dtype"], []).extend(case["product_flops_per_s"])
    reached = [f"{quartiles(own)[1] / 1e9:.0f} GFLOP/s in {dtype}" for dtype, own in rates.items()]
    return f"A matrix product, {comparison.LIMIT['size']} square: {', '.join(reached)}." if reached else ""
