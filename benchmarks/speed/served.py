"""Part "served": what `benchmarks.served_batch` measures, of an export of T5 1.1 Small."""

import json
import os
import subprocess
import sys
from typing import Any

from benchmarks.speed.figures import Target, ratios, spread
from benchmarks.speed.options import Options
from benchmarks.speed.protocol import QUIET, ROOT, VOCABULARY

RATIOS = {  # name -> above, below, target
    "16 rows, mixed tasks / one task, direct": ("16 rows, direct, mixed tasks", "16 rows, direct, one task", 1.03),
    "16 rows, mixed tasks / one task, gRPC": ("16 rows, gRPC, mixed tasks", "16 rows, gRPC, one task", None),
    "16 rows, gRPC / direct call": ("16 rows, gRPC, mixed tasks", "16 rows, direct, mixed tasks", 1.1),
    "1 row, gRPC / direct call": ("1 row, gRPC, one task", "1 row, direct, one task", None),
}


def measure(options: Options) -> dict[str, Any]:
    """Export, serve and ask in a process of its own; return seconds by kind of request."""
    output = options.output.resolve() / "served"
    command = [sys.executable, "-m", "benchmarks.served_batch", "--backbone", str(options.model())]
    command += [
        "--vocabulary",
        str(VOCABULARY),
        "--rounds",
        str(5 if options.is_quick else 30),
        "--output",
        str(output),
    ]
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, **QUIET}, stdout=sys.stderr)
    return dict(json.loads((output / "served_batch.json").read_text(encoding="utf-8"))["seconds"])


def table(found: dict[str, Any]) -> str:
    """Return two Markdown tables: times and ratios."""
    lines = ["| request | median, ms (quartiles) |", "|---|---|"]
    lines += [f"| {name} | {spread([1e3 * value for value in times], '.1f')} |" for name, times in found.items()]
    lines += ["", "| ratio | median (quartiles) |", "|---|---|"]
    lines += [f"| {name} | {spread(values, '.3f')} |" for name, (values, _) in _ratios(found).items()]
    return "\n".join(lines)


def targets(found: dict[str, Any]) -> list[Target]:
    """Return the targets of a served batch."""
    return [Target(name, limit, values, is_floor=False) for name, (values, limit) in _ratios(found).items() if limit]


def _ratios(found: dict[str, Any]) -> dict[str, tuple[list[float], float | None]]:
    return {name: (ratios(found[above], found[below]), limit) for name, (above, below, limit) in RATIOS.items()}
