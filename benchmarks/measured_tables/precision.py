"""The accuracy of prompts in float32 beside bfloat16: results of configs/experiments/precision.yaml in, a table out.

benchmarks/results/precision.json keeps the settings that all results share, and one line for each result.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measured_tables.kept_results import Kept, KeptResults, Row, mean_of_seeds
from benchmarks.measured_tables.task_names import TASK_NAMES
from softprompt_tf.experiments.results import RunResult

NAME = "precision"
EXACT, ROUNDED = "float32", "bfloat16"
NONE = "–"


def take(directories: Sequence[Path], results: Path) -> None:
    """Add the results of sweeps to the file; see `KeptResults.take`."""
    KEPT.take(directories, results)


def table(results: Path) -> str:
    """Return a row for each task, a column for each precision and for the difference, and sentences on how it was measured."""
    kept = KEPT.read(results)
    found = {row["task"] for row in kept.rows}
    lines = [f"| task | {EXACT} | {ROUNDED} | difference, seed by seed |", "|---|---|---|---|"]
    for task, name in ((task, name) for task, name in TASK_NAMES.items() if task in found):
        exact, rounded = (_scores(kept.rows, task, precision) for precision in (EXACT, ROUNDED))
        differences = [rounded[seed] - exact[seed] for seed in sorted(exact.keys() & rounded.keys())]
        cells = [_mean(list(exact.values())), _mean(list(rounded.values())), _mean(differences)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_conditions(kept)])


def draw(results: Path) -> None:
    """Draw nothing: the page has the table alone."""


def _scores(rows: Sequence[Row], task: str, precision: str) -> dict[int, float]:
    """Return seed -> score."""
    return {row["seed"]: row["score"] for row in rows if (row["task"], row["precision"]) == (task, precision)}


def _mean(scores: Sequence[float]) -> str:
    return mean_of_seeds(scores) if scores else NONE


def _settings(result: RunResult) -> dict[str, Any]:
    """Return what must be the same for all results: all but the task, the seed and the precision."""
    run = result.config["run"]
    training = {key: value for key, value in run["training"].items() if key != "precision"}
    return {"backbone": run["backbone"], "rows": run["rows"], "prompt": run["prompt"], "training": training}


def _row(result: RunResult) -> Row:
    row = {name: getattr(result, name) for name in ("task", "seed", "step")}
    return {**row, "precision": result.config["run"]["training"]["precision"], "score": round(result.score, 4)}


def _conditions(kept: Kept) -> list[str]:
    prompt, training, rows = (kept.settings[name] for name in ("prompt", "training", "rows"))
    return [
        f"Dev accuracy of `{kept.settings['backbone']}`: {prompt['length']} vectors, {training['steps']:,} steps of "
        f"{training['batch_size']} rows,",
        f"{training['optimizer'].capitalize()} at {training['learning_rate']} ({training['schedule']}). Mean ± standard deviation "
        "over seeds, their number in brackets.",
        f"At most {rows['train']:,} training rows and {rows['validation']:,} dev rows, which also chose the step.",
    ]


KEPT = KeptResults(NAME, (NAME,), settings=_settings, row=_row, key=("task", "seed", "precision"))
