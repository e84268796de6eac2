"""Serving: the figures of six benchmarks in, a table for each out.

Each benchmark writes DIR/NAME.json with its conditions and its raw figures; `MEASUREMENTS` has them by name.
"""

import statistics
from typing import Any

from benchmarks.conditions import told
from benchmarks.measured_tables.kept_file import KeptFile
from benchmarks.speed import served
from benchmarks.speed.figures import ratios, spread

LOADERS = {"local": "local server", "c_api": "C API"}


def served_batch(kept: dict[str, Any]) -> str:
    """Return times and ratios of requests, and the size of the export."""
    size, inside = kept["size"]["export"], kept["size"]["weights"] + kept["size"]["prompts"]
    return "\n".join(
        [
            served.table(kept["seconds"]),
            "",
            f"`classify` with `{kept['backbone']}`, {kept['rounds']} interleaved rounds; {told(kept)}",
            f"The export has {size / 1e6:.1f} MB, {100 * (size / inside - 1):.1f} % more than its weights and prompts.",
        ]
    )


def length_groups(kept: dict[str, Any]) -> str:
    """Return a row for each mixture of lengths: without groups, with them, and the ratio."""
    lines = ["| lengths of the rows, in tokens | one group, ms | groups, ms | ratio (quartiles) |", "|---|---|---|---|"]
    for name, seconds in kept["seconds"].items():
        whole, grouped = seconds["whole"], seconds["grouped"]
        lines.append(f"| {name} | {_ms(whole)} | {_ms(grouped)} | {spread(ratios(whole, grouped))} |")
    rounds = f"{kept['rounds']} rounds by turns"
    return "\n".join([*lines, "", f"`classify` of 16 rows with `{kept['backbone']}`, {rounds}; {told(kept)}"])


def many_tasks(kept: dict[str, Any]) -> str:
    """Return a row for each number of tasks, and below it what one more task takes."""
    first, add = kept["counts"][0], kept["add"]
    lines = [
        "| tasks | load | memory | memory above one task, of the prompts' bytes | `classify` | ratio to one task |",
        "|---|---|---|---|---|---|",
    ]
    for row in kept["counts"]:
        prompts_mb = row["prompts_mb"] - first["prompts_mb"]
        # Below 10 MB of prompts the memory of a process varies more than they take.
        above = f"{(row['resident_mb'] - first['resident_mb']) / prompts_mb:.3f}" if prompts_mb > 10 else ""
        ratio = "{:.2f} ({:.2f} to {:.2f})".format(row["ratio"], *row["quartiles"]) if prompts_mb else ""
        cells = [f"{row['load_s']:.2f} s", f"{row['resident_mb']:,.0f} MB", above, f"{1e3 * row['classify_s']:.1f} ms"]
        lines.append(f"| {row['tasks']:,} | {' | '.join(cells)} | {ratio} |")
    return "\n".join(
        [
            *lines,
            "",
            f"T5 1.1 Base's width in {kept['layers']} layers; {kept['rounds']} interleaved rounds; {told(kept)}",
            "",
            f"| one more task for an export of {add['layers']} + {add['layers']} layers, {add['export_mb']:,.0f} MB | |",
            "|---|---|",
            f"| added | {add['add_s']:.2f} s |",
            f"| added by a new process, with its imports | {add['add_in_a_new_process_s']:.1f} s |",
            f"| added and checked | {add['add_and_verify_s']:.1f} s |",
            f"| written, for a prompt of {add['prompt_kb']:.0f} kB | {add['new_kb']:.0f} kB |",
        ]
    )


def first_request(kept: dict[str, Any]) -> str:
    """Return a row for each kind of request: the first answer's time, and its ratio to the median of the next ones."""
    loads = kept["loads"]
    heads = [f"{told_loader}, no warm-up | with it" for told_loader in LOADERS.values()]
    lines = [f"| request, rows | {' | '.join(heads)} |", "|---|---|---|---|---|"]
    for kind in next(iter(loads.values()))[0]:
        cells = [_first(loads[f"{loader}, {warm}"], kind) for loader in LOADERS for warm in ("cold", "warm")]
        lines.append(f"| `{kind.replace(', ', '`, ')} | {' | '.join(cells)} |")
    number = kept["number_of_loads"]
    told_loads = f"Medians of {number} loads of each kind" if number > 1 else "One load of each kind"
    return "\n".join(
        [
            *lines,
            "",
            f"{told_loads}, each in its own process; {kept['rounds']} requests follow the first; {told(kept)}",
        ]
    )


def soak(kept: dict[str, Any]) -> str:
    """Return latencies, the counts of rows, and the server's memory."""
    lines = ["| request | count | p50 | p95 | p99 | longest |", "|---|---|---|---|---|---|"]
    for kind, found in kept["latencies"].items():
        cells = [f"{found[name]:,.0f} ms" for name in ("p50", "p95", "p99", "longest")]
        lines.append(f"| `{kind}` | {found['count']:,} | {' | '.join(cells)} |")
    counts = ", ".join(f"{name} {count:,}" for name, count in kept["counts"].items())
    early, late = kept["memory_mb"]
    return "\n".join(
        [
            *lines,
            "",
            f"Counts: {counts}. Median memory of the server: {early:,.0f} MB in the first half, {late:,.0f} MB in the second.",
            f"{kept['minutes']:g} minutes, {kept['clients']} clients; {told(kept)}",
        ]
    )


def ensemble_cost(kept: dict[str, Any]) -> str:
    """Return a row for each call: an ensemble, one prompt with as many rows, and the ratio."""
    rows, members = kept["rows"], kept["members"]
    lines = [f"| where | call | ensemble | one batch of {rows * members} | ratio |", "|---|---|---|---|---|"]
    for name, seconds in kept["seconds"].items():
        where, call = name.split(", ")
        vote, batch = seconds["ensemble"], seconds["batch"]
        lines.append(f"| {where} | `{call}` | {_ms(vote)} ms | {_ms(batch)} ms | {spread(ratios(vote, batch))} |")
    rounds = f"{kept['rounds']} interleaved rounds"
    return "\n".join([*lines, "", f"{rows} texts of {members} prompts of `{kept['backbone']}`; {rounds}; {told(kept)}"])


def _ms(seconds: list[float]) -> str:
    return f"{1e3 * statistics.median(seconds):.1f}"


def _first(loads: list[dict[str, list[float]]], kind: str) -> str:
    first = 1e3 * statistics.median(load[kind][0] for load in loads)
    shown = f"{first:,.0f}" if first >= 100 else f"{first:.1f}"
    return f"{shown} ms, {statistics.median(load[kind][0] / load[kind][1] for load in loads):.2f}"


SERVED_BATCH = KeptFile("served_batch", served_batch)
LENGTH_GROUPS = KeptFile("length_groups", length_groups)
MANY_TASKS = KeptFile("many_tasks", many_tasks)
FIRST_REQUEST = KeptFile("first_request", first_request)
SOAK = KeptFile("soak", soak)
ENSEMBLE_COST = KeptFile("ensemble_cost", ensemble_cost)
MEASUREMENTS = {
    kept.name: kept for kept in (SERVED_BATCH, LENGTH_GROUPS, MANY_TASKS, FIRST_REQUEST, SOAK, ENSEMBLE_COST)
}
