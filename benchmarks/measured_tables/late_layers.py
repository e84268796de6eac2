"""The accuracy of a prompt by the encoder layer where it enters: results of `softprompt sweep` in, a table and a plot out.

benchmarks/results/late_layers.json keeps the settings that all results share, and one line for each result.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measured_tables.kept_results import Kept, KeptResults, Row
from benchmarks.measured_tables.task_names import TASK_NAMES
from softprompt_tf.experiments.results import RunResult
from softprompt_tf.report.plots import plot, to_svg_file
from softprompt_tf.report.score_grid import score_grid
from softprompt_tf.report.statistics import Summary

NAME = "late_layers"
BEHIND = "output"
ENCODER_LAYERS = 4  # of `mini`
COLUMNS = ("task", "seed", "x", "score", "step", "seconds")
X_NAME = f"layer where the prompt enters ({ENCODER_LAYERS} = after the encoder)"


def take(directories: Sequence[Path], results: Path) -> None:
    """Add the results of sweeps to the file; see `KeptResults.take`."""
    KEPT.take(directories, results)


def table(results: Path) -> str:
    """Return a row for each layer, a column for each task, and a sentence on how it was measured."""
    kept = KEPT.read(results)
    scores = _grid(kept.rows).scores
    lines = [f"| layer | {' | '.join(scores.columns)} |", "|---" * (1 + len(scores.columns)) + "|"]
    for row in scores.rows:
        cells = [_cell(scores.cells.get((row, task))) for task in scores.columns]
        lines.append(f"| {layer_name(row[2])} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_conditions(kept)])


def draw(results: Path) -> None:
    """Draw the table as lines, one for each task."""
    content = to_svg_file(plot(_grid(KEPT.read(results).rows))).rstrip()
    (results / f"{NAME}.svg").write_bytes(content + f"\n{made_from(results)}\n".encode())


def made_from(results: Path) -> str:
    """Return the comment at the end of the plot: which results it was drawn from."""
    return f"<!-- {NAME}.json, sha256 {hashlib.sha256(KEPT.file(results).read_bytes()).hexdigest()} -->"


def layer_name(layer: int | str) -> str:
    """Return what tables call a layer, given as in a config, or as the number that the plot has."""
    names = {0: "0 (prompt tuning)", ENCODER_LAYERS: "after the encoder", BEHIND: "after the encoder"}
    return names.get(layer, str(layer))


def _row(result: RunResult) -> Row:
    row = {name: getattr(result, name) for name in COLUMNS}
    return {**row, "score": round(result.score, 4), "seconds": round(result.seconds, 1)}


def _shared_settings(result: RunResult) -> dict[str, Any]:
    """Return what must be the same for all results: all but the task, the seed and the layer."""
    run = result.config["run"]
    prompt = {key: value for key, value in run["prompt"].items() if key != "layer"}
    return {"backbone": run["backbone"], "rows": run["rows"], "prompt": prompt, "training": run["training"]}


def _grid(rows: Iterable[Mapping[str, Any]]) -> Any:
    """Return the report's table of these results, the layer a number, so that it is an axis of the plot."""
    found = [
        RunResult(
            experiment=NAME,
            arm="late_prompts",
            task=TASK_NAMES.get(row["task"], row["task"]),
            eval_task=TASK_NAMES.get(row["task"], row["task"]),
            seed=row["seed"],
            x=ENCODER_LAYERS if row["x"] == BEHIND else row["x"],
            score=row["score"],
            step=row["step"],
            seconds=row["seconds"],
            metrics={},
            backbone="mini",
            config={},
        )
        for row in rows
    ]
    places = {task: place for place, task in enumerate(TASK_NAMES.values())}
    grid = score_grid(NAME, sorted(found, key=lambda result: (places.get(result.task, len(places)), result.task)))
    return dataclasses.replace(grid, experiment=dataclasses.replace(grid.experiment, x_name=X_NAME))


def _conditions(kept: Kept) -> list[str]:
    settings, seeds = kept.settings, sorted({row["seed"] for row in kept.rows})
    prompt, training, rows = settings["prompt"], settings["training"], settings["rows"]
    over_seeds = "one seed" if len(seeds) == 1 else "mean ± standard deviation over seeds, their number in brackets"
    return [
        f"Dev accuracy of `{settings['backbone']}`: {prompt['length']} vectors, {training['steps']:,} steps of "
        f"{training['batch_size']} rows,",
        f"{training['optimizer'].capitalize()} at {training['learning_rate']} ({training['schedule']}). At most "
        f"{rows['train']:,} training rows and {rows['validation']:,} dev rows,",
        f"which also chose the step; {over_seeds}. Empty cells were not measured.",
    ]


def _cell(summary: Summary | None) -> str:
    if summary is None:
        return ""
    deviation = "" if summary.deviation is None else f" ± {summary.deviation:.1f} ({summary.count})"
    return f"{summary.mean:.1f}{deviation}"


KEPT = KeptResults(NAME, (NAME,), settings=_shared_settings, row=_row, key=("task", "seed", "x"))
