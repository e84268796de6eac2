"""Parts "growth" and "tasks": how time grows with the prompt, the batch, the inputs, the model and the number of tasks.

A training step with 8 target tokens, both sides in turn, few rounds. Where nothing else is said: T5 1.1 Small, 16 rows, 128
tokens, prompt 20. The exponent of a cost c * size^k is the slope of the straight line that fits the logarithms best.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.speed.cases import SHARED, Case, check_agreement
from benchmarks.speed.figures import growth_exponent, quartiles, ratios, spread
from benchmarks.speed.inputs import SHAPES
from benchmarks.speed.options import Options
from benchmarks.speed.protocol import QUIET, ROOT, Worker, started

DIMENSIONS: dict[str, tuple[tuple[Any, ...], Callable[[Any], dict[str, Any]]]] = {
    "prompt length": ((1, 20, 50, 100, 150), lambda prompt: {"prompt": prompt}),
    "rows of a batch": ((1, 2, 4, 8, 16, 32, 64), lambda rows: {"rows": rows}),
    "input tokens": ((16, 32, 64, 128, 256, 512), lambda length: {"length": length}),
    "parameters, 4 rows": (("mini", "small", "base"), lambda shape: {"shape": shape, "rows": 4}),
}
QUICK = {"prompt length": (1, 150), "rows of a batch": (1, 16), "input tokens": (16, 128)}
TASK_COUNTS, QUICK_TASK_COUNTS = (1, 10, 100, 1_000, 10_000), (1, 1_000)
COSTS = {"classify_s": "classify, 16 rows, ms", "load_s": "load, s", "resident_mb": "resident, MB"}


def measure(options: Options) -> dict[str, Any]:
    """Take a training step at every size; return sizes and seconds by dimension."""
    found: dict[str, Any] = {}
    for name, (sizes, changes) in DIMENSIONS.items():
        sizes = QUICK.get(name, ()) if options.is_quick else sizes
        if sizes:
            with started("our", "peer", peer_python=options.peer_python) as workers:
                points = [_point(workers, options, changes(size), 2 if options.is_quick else 3) for size in sizes]
            numbers = [SHAPES[size].parameters if isinstance(size, str) else size for size in sizes]
            found[name] = {"names": list(map(str, sizes)), "sizes": numbers, "points": points}
            print(table({name: found[name]}), flush=True)
    return found


def _point(workers: list[Worker], options: Options, changes: dict[str, Any], rounds: int) -> dict[str, list[float]]:
    settings: dict[str, Any] = {
        "kind": "training_step",
        "prompt": 20,
        "targets": 8,
        "checked_steps": 1,
        **SHARED,
        **changes,
    }
    settings["model"] = str(options.model(settings.get("shape", "small")))
    prepared = [worker.ask("prepare", case=settings) for worker in workers]
    check_agreement(Case("growth", settings, None), *prepared)
    for worker in workers:
        worker.ask("run")
    times = [[worker.ask("run")["seconds"] for worker in workers] for _ in range(rounds)]
    return dict(zip(("ours_s", "peer_s"), map(list, zip(*times, strict=True)), strict=True))


def table(found: dict[str, Any]) -> str:
    """Return a Markdown table for each dimension, with the exponents below the sizes."""
    lines = []
    for name, growth in found.items():
        lines += ["", f"| {name} | ours, ms | PEFT, ms | our speed to PEFT's |", "|---|---|---|---|"]
        for size, number, point in zip(growth["names"], growth["sizes"], growth["points"], strict=True):
            ours, peer = (f"{1e3 * quartiles(point[key])[1]:.0f}" for key in ("ours_s", "peer_s"))
            shown = size if size == str(number) else f"{size}, {number / 1e6:.1f} M"
            lines.append(f"| {shown} | {ours} | {peer} | {spread(ratios(point['peer_s'], point['ours_s']))} |")
        lines.append(f"| exponent | {' | '.join(f'{exponent(growth, key):z.2f}' for key in ('ours_s', 'peer_s'))} | |")
    return "\n".join(lines[1:])


def exponent(growth: dict[str, Any], key: str) -> float:
    """Return the exponent of one side's medians."""
    return growth_exponent(growth["sizes"], [quartiles(point[key])[1] for point in growth["points"]])


def measure_tasks(options: Options) -> list[dict[str, Any]]:
    """Return what `benchmarks.many_tasks` finds, one entry for each number of tasks."""
    output = options.output.resolve() / "many_tasks"
    counts = QUICK_TASK_COUNTS if options.is_quick else TASK_COUNTS
    command = [
        sys.executable,
        "-m",
        "benchmarks.many_tasks",
        "--output",
        str(output),
        "--layers",
        "2",
        "--add-layers",
        "2",
    ]
    command += ["--rounds", "5" if options.is_quick else "15", "--counts", *map(str, counts)]
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, **QUIET}, stdout=sys.stderr)
    return list(json.loads((output / "many_tasks.json").read_text(encoding="utf-8"))["counts"])


def tasks_table(found: list[dict[str, Any]]) -> str:
    """Return the Markdown table of an export that holds more and more tasks, with the exponents below."""
    lines = [f"| tasks | {' | '.join(COSTS.values())} | classify, to the first |", "|---|---|---|---|---|"]
    for row in found:
        low, high = row["quartiles"]
        ratio = f"{row['ratio']:.3f} ({low:.3f} to {high:.3f})"
        costs = f"{1e3 * row['classify_s']:.1f} | {row['load_s']:.2f} | {row['resident_mb']:.0f}"
        lines.append(f"| {row['tasks']:,} | {costs} | {ratio} |")
    tasks = [row["tasks"] for row in found]
    exponents = [growth_exponent(tasks, [row[key] for row in found]) for key in COSTS]
    lines.append(f"| exponent | {' | '.join(f'{value:z.3f}' for value in exponents)} | |")
    return "\n".join(lines)
