"""Late prompts that trained as long as a prompt in front: results of configs/experiments/late_equal_seconds.yaml in, a table out.

benchmarks/results/late_equal_seconds.json keeps the settings that all results share, and one line for each result. Those in front
are those of `late_layers`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measured_tables import late_layers
from benchmarks.measured_tables.kept_results import KeptResults, Row, mean_of_seeds
from benchmarks.measured_tables.task_names import TASK_NAMES
from softprompt_tf.experiments.results import RunResult

NAME = "late_equal_seconds"
TASKS = ("trec", "ag_news", "sst2")
LAYERS = (2, 3, late_layers.BEHIND)
IN_FRONT = 0


def take(directories: Sequence[Path], results: Path) -> None:
    """Add the results of sweeps to the file; see `KeptResults.take`."""
    KEPT.take(directories, results)


def table(results: Path) -> str | None:
    """Return a row for each layer, and scores and steps of each task; None where there is no result yet."""
    rows = KEPT.read(results).rows
    if not rows:
        return None
    front = late_layers.KEPT.read(results)
    steps = front.settings["training"]["steps"]
    rows += [{**row, "steps": steps} for row in front.rows if row["x"] == IN_FRONT]
    tasks = [task for task in TASKS if any(row["task"] == task for row in rows)]
    heads = [head for task in tasks for head in (TASK_NAMES[task], "steps")]
    lines = [f"| layer | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    for layer in (IN_FRONT, *LAYERS):
        cells = [cell for task in tasks for cell in _cells(rows, task, layer)]
        lines.append(f"| {late_layers.layer_name(layer)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(results: Path) -> None:
    """Draw nothing: the page has the table alone."""


def _cells(rows: Sequence[Row], task: str, layer: Any) -> tuple[str, str]:
    found = [row for row in rows if (row["task"], row["x"]) == (task, layer)]
    if not found:
        return "", ""
    return mean_of_seeds([row["score"] for row in found]), f"{found[0]['steps']:,}"


def _settings(result: RunResult) -> dict[str, Any]:
    run = result.config["run"]
    prompt = {key: value for key, value in run["prompt"].items() if key != "layer"}
    training = {key: value for key, value in run["training"].items() if key not in ("steps", "evaluate_every")}
    return {"backbone": run["backbone"], "rows": run["rows"], "prompt": prompt, "training": training}


def _row(result: RunResult) -> Row:
    row = {name: getattr(result, name) for name in ("task", "seed", "x", "step")}
    return {**row, "steps": result.config["run"]["training"]["steps"], "score": round(result.score, 4)}


EXPERIMENTS = tuple(f"{task}_{layer}" for task in TASKS for layer in LAYERS)
KEPT = KeptResults(NAME, EXPERIMENTS, settings=_settings, row=_row, key=("task", "seed", "x", "steps"))
