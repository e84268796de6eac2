"""Curves of accuracy over seconds: how each side keeps one, and the table of all."""

import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

EVALUATIONS = 10  # in a run
SIDES = {
    "peft": "PEFT's prompt tuning, 400 steps",
    "front": "prompt in front, 400 steps",
    "late": "after the encoder, cached states, 2,000 steps",
    "decoder": "adapters in the decoder, cached states, 400 steps",
    "ia3": "(IA)^3, 400 steps",
    "tune": "`softprompt tune --minutes 2`, from nothing",
}
TASK_NAMES = {"trec": "TREC", "ag_news": "AG News", "sst2": "SST-2", "rte": "RTE"}


class Curve:
    """The scores of a run, each with the seconds that were spent on training until then.

    Args:
      score: returns the accuracy on the dev rows; its seconds do not count.
      **before: seconds that were spent before the first step, by clock: `wall` and `cpu`.
    """

    def __init__(self, score: Callable[[], float], *, wall: float = 0.0, cpu: float = 0.0):
        self._score = score
        self._spent = {"wall": wall, "cpu": cpu}
        self._since = self._now()
        self.points: list[dict[str, float]] = []

    def look(self, step: int) -> float:
        """Score the model after so many steps."""
        now = self._now()
        for clock, value in now.items():
            self._spent[clock] += value - self._since[clock]
        accuracy = self._score()
        self.points.append({"step": step, "accuracy": accuracy, **self._spent})
        self._since = self._now()
        return accuracy

    def write(self, path: Path) -> None:
        """Keep the curve, whole or not at all."""
        part = path.with_suffix(".part")
        part.write_text(json.dumps({"curve": self.points}), encoding="utf-8")
        part.replace(path)

    @staticmethod
    def _now() -> dict[str, float]:
        return {"wall": time.perf_counter(), "cpu": time.process_time()}


def table(runs: Iterable[dict[str, Any]]) -> str:
    """Return a row for each task and side: means over the seeds that PEFT has."""
    by_seed: dict[tuple[str, int], dict[str, list[dict[str, float]]]] = defaultdict(dict)
    for run in runs:
        by_seed[run["task"], run["seed"]][run["side"]] = run["curve"]
    rows: dict[tuple[str, str], list[tuple[float, dict[str, float] | None, dict[str, float]]]] = defaultdict(list)
    for (task, _), curves in by_seed.items():
        if "peft" not in curves:
            continue
        wanted = max(point["accuracy"] for point in curves["peft"])
        for side, curve in curves.items():
            reached = next((point for point in curve if point["accuracy"] >= wanted), None)
            rows[task, side].append((max(point["accuracy"] for point in curve), reached, curve[-1]))
    lines = [
        "| task | | best dev accuracy | seeds that reach PEFT's best | seconds to it (CPU) | seconds of the run (CPU) |",
        "|---|---|---|---|---|---|",
    ]
    for (task, side), found in rows.items():
        best, reached, last = zip(*found, strict=True)
        there = [point for point in reached if point is not None]
        share = f"{len(there)} of {len(found)}"
        cells = [TASK_NAMES.get(task, task), SIDES[side], f"{100 * statistics.mean(best):.1f}", share]
        lines.append(f"| {' | '.join([*cells, _seconds(there), _seconds(last)])} |")
    return "\n".join(lines)


def _seconds(points: Any) -> str:
    if not points:
        return ""
    wall, cpu = (statistics.mean(point[clock] for point in points) for clock in ("wall", "cpu"))
    return f"{wall:.0f} ({cpu:.0f})"
