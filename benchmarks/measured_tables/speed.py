"""Speed compared with PEFT: results of `benchmarks.speed` in, a summary, a table for each part and the plots out.

benchmarks/results/speed.json has the form of results.json, with a line for each case. The tables are those of
benchmarks/speed/report.py.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.conditions import told_load
from benchmarks.measured_tables.kept_file import compact, only_file
from benchmarks.speed import comparison, report
from benchmarks.speed.figures import ratios, spread

NAME = "speed"
SOURCE = "results.json"
PLOTS = {
    "speed.svg": "speed.svg",
    "growth.svg": "speed_growth.svg",
}  # the benchmark's name -> that in benchmarks/results


def take(directories: Sequence[Path], results: Path) -> None:
    """Keep the parts of a run; those of earlier runs stay if they are of the same machine and versions.

    Args:
      directories: one directory, which has `results.json`.
      results: benchmarks/results.

    Raises:
      ValueError: if there is more than one directory, or no such file.
    """
    new = json.loads(only_file(directories, SOURCE).read_text(encoding="utf-8"))
    del new["machine"]["system"]  # the build of the kernel, which no table shows
    known = _read(results)
    if known.get("machine") == new["machine"]:
        new = {**known, **new, "conditions": {**known["conditions"], **new["conditions"]}}
    (results / f"{NAME}.json").write_text(compact(new), encoding="utf-8")


def table(results: Path) -> str | None:
    """Return speed and memory to PEFT's, a row for each case; None without a comparison."""
    kept = _read(results)
    return "\n".join([*_summary(kept), "", *_conditions(kept)]) if "comparison" in kept else None


def part_tables(results: Path) -> dict[str, str | None]:
    """Return the tables of the parts, `speed_PART`, and `speed_targets`; None for those without results."""
    kept = _read(results)
    tables = {f"{NAME}_{part}": report.part_table(kept, part) if part in kept else None for part in report.TABLES}
    return {f"{NAME}_targets": report.targets_table(kept) or None, **tables}


def draw(results: Path) -> None:
    """Draw the ratios to PEFT and the growth, as far as there are results."""
    from benchmarks.speed.plots import write_plots

    with tempfile.TemporaryDirectory() as directory:
        for drawn in write_plots(_read(results), Path(directory)):
            shutil.copyfile(drawn, results / PLOTS[drawn.name])


def _read(results: Path) -> dict[str, Any]:
    file = results / f"{NAME}.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def _summary(kept: dict[str, Any]) -> list[str]:
    kinds = comparison.by_dtype(kept["comparison"])
    heads = [f"{dtype}: our speed to PEFT's | our memory to PEFT's" for dtype in kinds]
    lines = [f"| | {' | '.join(heads)} |", "|---" * (1 + 2 * len(kinds)) + "|"]
    for name in dict.fromkeys(name for cases in kinds.values() for name in cases):
        cells = [_speed_and_memory(cases[name]) if name in cases else " | " for cases in kinds.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    if found := kept.get("cold_start"):
        start = spread(ratios(found["peer"]["process"], found["ours"]["process"]))
        lines.append(f"| start of a process to its second answer (float32) | {start} |{' |' * (2 * len(kinds) - 1)}")
    return lines


def _speed_and_memory(case: dict[str, Any]) -> str:
    ours, peer = case["peak_of_rounds_mb"]
    return f"{spread(case['speed'])} | {ours / peer:.2f}"


def _conditions(kept: dict[str, Any]) -> list[str]:
    rounds = sorted({len(case["ours_s"]) for case in kept["comparison"].values()})
    measured = f"{' to '.join(map(str, rounds))} interleaved rounds; {told_load(kept['conditions']['comparison'])}"
    return [
        "Speed: the median of the rounds' ratios, with quartiles; above 1, ours is faster. Memory: the peak of the rounds;",
        f"above 1, ours needs more. {measured}.",
        "",
        f"{report.machine_line(kept['machine'])} {report.product_line(kept)}",
    ]
