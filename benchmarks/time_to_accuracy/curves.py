"""Curves of accuracy over seconds: how each side keeps one, and the table of all."""

import json
import re
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.measured_tables.task_names import TASK_NAMES

EVALUATIONS = 10  # in a run
SIDES = {
    "peft": "PEFT's prompt tuning, 400 steps",
    "peft_small_batch": "PEFT's prompt tuning, batches of 8, 800 steps",
    "peft_lora": "PEFT's LoRA, 400 steps, the best of its rates",
    "peft_ia3": "PEFT's (IA)^3, 400 steps, the best of its rates",
    "front": "prompt in front, 400 steps",
    "late": "after the encoder, cached states, 2,000 steps",
    "decoder": "adapters in the decoder, cached states, 400 steps",
    "ia3_decoder": "(IA)^3 in the decoder, cached states, 400 steps",
    "lora": "LoRA, 400 steps",
    "ia3": "(IA)^3, 400 steps",
    "ia3_small_batch": "(IA)^3, batches of 8, 800 steps",
    "tune": "`softprompt tune --minutes 2`, from nothing",
}
PEER = "peft"  # the side whose best score is to be reached; others of PEFT begin with it
_FILE = re.compile(rf"(?P<task>\w+)_(?P<seed>\d+)_(?P<side>{'|'.join(SIDES)})(_(?P<rate>[\d.]+))?\.json")

Points = list[dict[str, float]]


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


def run_files(directory: Path) -> list[Path]:
    """Return the files of runs, TASK_SEED_SIDE.json or TASK_SEED_SIDE_RATE.json, by task, seed and side."""
    tasks, sides = list(TASK_NAMES), list(SIDES)

    def place(path: Path) -> tuple[int, str, int, int, str]:
        found = _match(path)
        task = found["task"]
        number = tasks.index(task) if task in tasks else len(tasks)
        return number, task, int(found["seed"]), sides.index(found["side"]), path.name

    return sorted((path for path in directory.glob("*.json") if _FILE.fullmatch(path.name)), key=place)


def runs_of(directory: Path) -> Iterator[dict[str, Any]]:
    """Yield each run of a directory: its task, seed, side, and curve."""
    for path in run_files(directory):
        found = _match(path)
        curve = json.loads(path.read_text(encoding="utf-8"))["curve"]
        yield {"task": found["task"], "seed": int(found["seed"]), "side": found["side"], "curve": curve}


def table(runs: Iterable[dict[str, Any]]) -> str:
    """Return a row for each task and side: means over the seeds that PEFT's prompt tuning has.

    Of several runs of a side with one seed, the one with the best dev accuracy counts. Where PEFT has other runs than these, two
    more columns say how long to the best of all.

    Args:
      runs: of all sides, as `runs_of` yields them.
    """
    rows: dict[tuple[str, str], list[tuple[Points, float, float | None]]] = defaultdict(list)
    for (task, _), curves in _by_seed(runs).items():
        if PEER not in curves:
            continue
        bests = {side: _best(curve) for side, curve in curves.items() if side.startswith(PEER)}
        best_of_all = max(bests.values()) if len(bests) > 1 else None
        for side, curve in curves.items():
            rows[task, side].append((curve, bests[PEER], best_of_all))
    has_more = any(best_of_all is not None for found in rows.values() for *_, best_of_all in found)
    more = ["seeds that reach the best of all of PEFT's runs", "seconds to it (CPU)"] if has_more else []
    head = ["task", "", "best dev accuracy", "seeds that reach PEFT's best", "seconds to it (CPU)"]
    if has_more:
        head[3] = "seeds that reach the best of PEFT's prompt tuning"
    lines = [[*head, *more, "seconds of the run (CPU)"]]
    for (task, side), found in rows.items():
        best = f"{100 * statistics.mean(_best(curve) for curve, *_ in found):.1f}"
        cells = [
            TASK_NAMES.get(task, task),
            SIDES[side],
            best,
            *_reached([(curve, wanted) for curve, wanted, _ in found]),
        ]
        if has_more:
            cells += _reached([(curve, wanted) for curve, _, wanted in found if wanted is not None])
        lines.append([*cells, _seconds([curve[-1] for curve, *_ in found])])
    written = [f"| {' | '.join(cells)} |" for cells in lines]
    return "\n".join([written[0].replace("|  |", "| |"), f"|{'---|' * len(lines[0])}", *written[1:]])


def _match(path: Path) -> re.Match[str]:
    found = _FILE.fullmatch(path.name)
    assert found is not None
    return found


def _by_seed(runs: Iterable[dict[str, Any]]) -> dict[tuple[str, int], dict[str, Points]]:
    """Return (task, seed) -> side -> its best curve; of equally good ones the first."""
    found: dict[tuple[str, int], dict[str, Points]] = defaultdict(dict)
    for run in runs:
        curves, side, curve = found[run["task"], run["seed"]], run["side"], run["curve"]
        if side not in curves or _best(curve) > _best(curves[side]):
            curves[side] = curve
    return found


def _best(curve: Points) -> float:
    return max(point["accuracy"] for point in curve)


def _reached(found: list[tuple[Points, float]]) -> list[str]:
    """Return how many curves reach what is wanted of them, and the mean seconds until they do."""
    if not found:
        return ["", ""]
    firsts = (next((point for point in curve if point["accuracy"] >= wanted), None) for curve, wanted in found)
    there = [point for point in firsts if point is not None]
    return [f"{len(there)} of {len(found)}", _seconds(there)]


def _seconds(points: Points) -> str:
    if not points:
        return ""
    wall, cpu = (statistics.mean(point[clock] for point in points) for clock in ("wall", "cpu"))
    return f"{wall:.0f} ({cpu:.0f})"
