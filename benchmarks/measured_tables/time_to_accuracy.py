"""How long PEFT and this library take to PEFT's best score: the curves of `benchmarks.time_to_accuracy` in, its table out.

benchmarks/results/time_to_accuracy/ keeps one file for each run, TASK_SEED_SIDE.json or TASK_SEED_SIDE_RATE.json.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks.time_to_accuracy.curves import run_files, runs_of
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
        found = run_files(directory)
        if not found:
            raise ValueError(f"A directory must have files TASK_SEED_SIDE.json. Received: {directory}, which has none.")
        for path in found:
            shutil.copyfile(path, kept / path.name)


def table(results: Path) -> str:
    """Return the table of all runs."""
    return table_of_curves(runs_of(results / NAME))


def draw(results: Path) -> None:
    """Draw nothing: the page has the table alone."""
