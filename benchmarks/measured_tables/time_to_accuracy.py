"""How long PEFT and this library take to PEFT's best score: the curves of `benchmarks.time_to_accuracy` in, its table out.

benchmarks/results/time_to_accuracy/ keeps one file for each run, TASK_SEED_SIDE.json.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.time_to_accuracy.curves import SIDES
from benchmarks.time_to_accuracy.curves import table as table_of_curves

NAME = "time_to_accuracy"


def take(directories: Sequence[Path], results: Path) -> None:
    """Copy the curves of all runs.

    Raises:
      ValueError: if a directory has none.
    """
    kept = results / NAME
    kept.mkdir(exist_ok=True)
    for directory in directories:
        found = [path for side in SIDES for path in directory.glob(f"*_{side}.json")]
        if not found:
            raise ValueError(f"A directory must have files TASK_SEED_SIDE.json. Received: {directory}, which has none.")
        for path in found:
            shutil.copyfile(path, kept / path.name)


def table(results: Path) -> str:
    """Return the table of all runs."""
    return table_of_curves(_runs(results / NAME))


def draw(results: Path) -> None:
    """Draw nothing: the page has the table alone."""


def _runs(kept: Path) -> Iterator[dict[str, Any]]:
    order = {side: place for place, side in enumerate(SIDES)}
    for path in sorted(kept.glob("*.json"), key=lambda path: (path.stem.rpartition("_")[0], order[_side(path)])):
        task, seed = path.stem.removesuffix(f"_{_side(path)}").rsplit("_", 1)
        yield {"task": task, "seed": int(seed), "side": _side(path), **json.loads(path.read_text(encoding="utf-8"))}


def _side(path: Path) -> str:
    return path.stem.rpartition("_")[2]
