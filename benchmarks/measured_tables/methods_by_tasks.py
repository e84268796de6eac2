"""The accuracy of every method on the same tasks: results of the sweeps of configs/experiments/method_rates.yaml and
method_family.yaml in, a table out.

A method's rate is the one with the best dev score of those that seed 1 tried on TREC. A cell is the mean over all seeds at that
rate. benchmarks/results/methods_by_tasks.json keeps the settings that results share, and one line for each result.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measured_tables.kept_results import Kept, KeptResults, Row, mean_of_seeds
from benchmarks.measured_tables.task_names import TASK_NAMES
from softprompt_tf.experiments.results import RunResult
from softprompt_tf.methods import METHODS

NAME = "methods_by_tasks"
RATES_FROM = "trec"  # the task that tries all rates, with the first seed
FIRST_SEED = 1


def take(directories: Sequence[Path], results: Path) -> None:
    """Add the results of sweeps to the file; see `KeptResults.take`."""
    KEPT.take(directories, results)


def table(results: Path) -> str:
    """Return a row for each method, a column for its rate and for each task, and sentences on how it was measured."""
    kept = KEPT.read(results)
    found = {row["task"] for row in kept.rows}
    tasks = [task for task in TASK_NAMES if task in found]
    lines = [f"| method | rate | {' | '.join(TASK_NAMES[task] for task in tasks)} |", "|---" * (2 + len(tasks)) + "|"]
    for method in METHODS:
        rate = chosen_rate(_runs(kept.rows, method, RATES_FROM))
        if rate is not None:
            cells = [_cell(_runs(kept.rows, method, task), rate) for task in tasks]
            lines.append(f"| `{method}` | {rate:g} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_conditions(kept)])


def draw(results: Path) -> None:
    """Draw nothing: the page has the table alone."""


def chosen_rate(runs: Iterable[Row]) -> float | None:
    """Return the rate with the best score of the first seed, of equal ones the lowest; None without such a run."""
    tried = [row for row in runs if row["seed"] == FIRST_SEED]
    best = min(tried, key=lambda row: (-row["score"], row["rate"]), default=None)
    return None if best is None else float(best["rate"])


def _runs(rows: Iterable[Row], method: str, task: str) -> list[Row]:
    return [row for row in rows if (row["method"], row["task"]) == (method, task)]


def _cell(runs: list[Row], rate: float) -> str:
    scores = [row["score"] for row in runs if row["rate"] == rate]
    return mean_of_seeds(scores) if scores else ""


def _settings(result: RunResult) -> dict[str, Any]:
    run = result.config["run"]
    training = {key: value for key, value in run["training"].items() if key != "learning_rate"}
    own = {run["prompt"]["method"]: run["prompt"]}
    return {"backbone": run["backbone"], "rows": run["rows"], "training": training, **own}


def _row(result: RunResult) -> Row:
    return {
        "method": result.config["run"]["prompt"]["method"],
        "task": result.task,
        "seed": result.seed,
        "rate": result.config["run"]["training"]["learning_rate"],
        "score": round(result.score, 4),
        "step": result.step,
    }


def _conditions(kept: Kept) -> list[str]:
    training, rows = kept.settings["training"], kept.settings["rows"]
    rates = ", ".join(map(str, sorted({row["rate"] for row in kept.rows})))
    several = len({row["seed"] for row in kept.rows}) > 1
    seeds = "Mean ± standard deviation over seeds, their number in brackets" if several else "One seed"
    return [
        f"Dev accuracy of `{kept.settings['backbone']}`: {training['steps']} steps of {training['batch_size']} rows, "
        f"{training['optimizer'].capitalize()}, {training['schedule']} schedule. {seeds}.",
        f"At most {rows['train']:,} training rows and {rows['validation']} dev rows, which also chose the step. The rate is",
        f"the best of {rates} on {TASK_NAMES[RATES_FROM]}'s dev rows, seed {FIRST_SEED}. Empty cells were not measured.",
    ]


KEPT = KeptResults(NAME, tuple(METHODS), settings=_settings, row=_row, key=("method", "task", "seed", "rate"))
