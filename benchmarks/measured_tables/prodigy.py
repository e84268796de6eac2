"""Prodigy, which finds its rate, beside chosen rates: results of configs/experiments/prodigy.yaml in, a table out.

A chosen rate of Adam is that of `methods_by_tasks`, whose runs have the same rows and steps. benchmarks/results/prodigy.json keeps
the settings that results share, and one line for each result.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measured_tables import methods_by_tasks
from benchmarks.measured_tables.kept_results import Kept, KeptResults, Row, mean_of_seeds
from benchmarks.measured_tables.task_names import TASK_NAMES
from softprompt_tf.experiments.results import RunResult

NAME = "prodigy"
METHODS = ("prompt_tuning", "ia3", "adapters")
WARM_UP = 20  # steps, where nothing else is said
_OF_A_METHOD = ("optimizer", "learning_rate", "steps", "warmup_steps")


def take(directories: Sequence[Path], results: Path) -> None:
    """Add the results of sweeps to the file; see `KeptResults.take`."""
    KEPT.take(directories, results)


def table(results: Path) -> str:
    """Return a row for each method and optimizer, a column for each task, and a sentence on how it was measured."""
    kept = KEPT.read(results)
    rows = [*kept.rows, *_chosen(kept.rows, methods_by_tasks.KEPT.read(results))]
    tasks = [task for task in TASK_NAMES if any(row["task"] == task for row in kept.rows)]
    lines = [f"| method, steps | optimizer | {' | '.join(TASK_NAMES[task] for task in tasks)} |"]
    lines.append("|---" * (2 + len(tasks)) + "|")
    for method in METHODS:
        own = [row for row in rows if row["method"] == method]
        for steps, *side in dict.fromkeys(map(_side, own)):
            alike = [row for row in own if _side(row) == (steps, *side)]
            cells = [_cell(row["score"] for row in alike if row["task"] == task) for task in tasks]
            lines.append(f"| `{method}`, {steps} | {_words(*side)} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_conditions(kept)])


def draw(results: Path) -> None:
    """Draw nothing: the page has the table alone."""


def _chosen(rows: Iterable[Row], kept: Kept) -> list[Row]:
    """Return the runs of Adam at each method's chosen rate that have the same steps, task and seed as one of some runs."""
    if not kept.rows:
        return []
    training = {name: kept.settings["training"][name] for name in ("optimizer", "steps", "warmup_steps")}
    asked = {(row["method"], row["steps"], row["task"], row["seed"]) for row in rows}
    rates = {method: methods_by_tasks.chosen_rate(_on_the_first_task(kept.rows, method)) for method in METHODS}
    return [
        {**row, **training}
        for row in kept.rows
        if (row["method"], training["steps"], row["task"], row["seed"]) in asked and row["rate"] == rates[row["method"]]
    ]


def _on_the_first_task(rows: Iterable[Row], method: str) -> list[Row]:
    return [row for row in rows if (row["method"], row["task"]) == (method, methods_by_tasks.RATES_FROM)]


def _cell(scores: Iterable[float]) -> str:
    listed = list(scores)
    return mean_of_seeds(listed) if listed else ""


def _side(row: Row) -> tuple[Any, ...]:
    """Return what rows of one line have in common."""
    return tuple(row[name] for name in ("steps", "optimizer", "rate", "warmup_steps"))


def _words(optimizer: str, rate: float, warmup_steps: int) -> str:
    name = "Prodigy" if (optimizer, rate) == ("prodigy", 1.0) else f"{optimizer.capitalize()} at {rate:g}"
    return name if warmup_steps == WARM_UP else f"{name}, {warmup_steps or 'no'} warm-up"


def _settings(result: RunResult) -> dict[str, Any]:
    run = result.config["run"]
    training = {key: value for key, value in run["training"].items() if key not in _OF_A_METHOD}
    own = {run["prompt"]["method"]: run["prompt"]}
    return {"backbone": run["backbone"], "rows": run["rows"], "training": training, **own}


def _row(result: RunResult) -> Row:
    training = result.config["run"]["training"]
    return {
        "method": result.config["run"]["prompt"]["method"],
        "optimizer": training["optimizer"],
        "rate": training["learning_rate"],
        "steps": training["steps"],
        "warmup_steps": training["warmup_steps"],
        "task": result.task,
        "seed": result.seed,
        "score": round(result.score, 4),
        "step": result.step,
    }


def _conditions(kept: Kept) -> list[str]:
    training, rows = kept.settings["training"], kept.settings["rows"]
    several = len({row["seed"] for row in kept.rows}) > 1
    seeds = "One seed, or the mean ± standard deviation over seeds, their number in brackets" if several else "One seed"
    return [
        f"Dev accuracy of `{kept.settings['backbone']}`: batches of {training['batch_size']} rows, {training['schedule']} "
        f"schedule, {WARM_UP} steps of warm-up unless said. {seeds}.",
        f"At most {rows['train']:,} training rows and {rows['validation']} dev rows, which also chose the step. The rates of",
        "Adam are the best of 0.003, 0.03 and 0.3 on TREC, as in [methods by tasks](methods_by_tasks.md). Empty cells were",
        "not measured.",
    ]


KEPT = KeptResults(
    NAME, METHODS, settings=_settings, row=_row, key=("method", "optimizer", "rate", "warmup_steps", "task", "seed")
)
