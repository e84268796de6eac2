"""The accuracy of what can be trained where one encoding serves all tasks: results of configs/experiments/shared_encoding.yaml
in, a table out.

benchmarks/results/shared_encoding.json keeps the settings of each experiment, and one line for each result.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measured_tables.kept_results import Kept, KeptResults, Row, mean_of_seeds
from benchmarks.measured_tables.task_names import TASK_NAMES
from softprompt_tf.experiments.results import RunResult

NAME = "shared_encoding"
NAMES = {
    "prompt_tuning": "prompt in front, {length} vectors (its own encoding for each task)",
    "late_prompts": "late prompt after the encoder, {length} vectors",
    "more_late_prompts": "late prompt after the encoder, {length} vectors",
    "late_prompts_key_values": "late prompt after the encoder, {length} vectors, with as many keys and values in the decoder",
    "p_tuning_v2": "keys and values in the decoder, {length} of each",
    "lora": "LoRA in the decoder, rank {rank}",
    "ia3": "(IA)^3 in the decoder",
    "adapters": "adapters in the decoder, width {bottleneck_dim}",
}


def take(directories: Sequence[Path], results: Path) -> None:
    """Add the results of sweeps to the file; see `KeptResults.take`."""
    KEPT.take(directories, results)


def table(results: Path) -> str:
    """Return a row for each experiment, a column for each task, and sentences on how it was measured."""
    kept = KEPT.read(results)
    found = {row["task"] for row in kept.rows}
    tasks = [task for task in TASK_NAMES if task in found]
    lines = [
        f"| what is trained | optimizer, rate | {' | '.join(TASK_NAMES[task] for task in tasks)} |",
        "|---" * (2 + len(tasks)) + "|",
    ]
    for experiment in (name for name in NAMES if name in kept.settings):
        settings = kept.settings[experiment]
        optimizer = f"{settings['optimizer'].capitalize()}, {settings['learning_rate']:g}"
        cells = [_cell(kept.rows, experiment, task) for task in tasks]
        lines.append(f"| {NAMES[experiment].format(**settings['prompt'])} | {optimizer} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_conditions(kept)])


def draw(results: Path) -> None:
    """Draw nothing: the page has the table alone."""


def _cell(rows: Sequence[Row], experiment: str, task: str) -> str:
    scores = [row["score"] for row in rows if (row["experiment"], row["task"]) == (experiment, task)]
    return mean_of_seeds(scores) if scores else ""


def _settings(result: RunResult) -> dict[str, Any]:
    run, own = result.config["run"], ("optimizer", "learning_rate")
    training = {key: value for key, value in run["training"].items() if key not in own}
    experiment = {"prompt": run["prompt"], **{key: run["training"][key] for key in own}}
    return {"backbone": run["backbone"], "rows": run["rows"], "training": training, result.experiment: experiment}


def _row(result: RunResult) -> Row:
    names = ("experiment", "task", "seed", "step")
    return {**{name: getattr(result, name) for name in names}, "score": round(result.score, 4)}


def _conditions(kept: Kept) -> list[str]:
    training, rows = kept.settings["training"], kept.settings["rows"]
    return [
        f"Dev accuracy of `{kept.settings['backbone']}`: {training['steps']} steps of {training['batch_size']} rows, "
        f"{training['schedule']} schedule. Mean ± standard deviation over",
        f"seeds, their number in brackets. At most {rows['train']:,} training rows and {rows['validation']} dev rows, which also "
        "chose the step.",
        "Empty cells were not measured.",
    ]


KEPT = KeptResults(NAME, tuple(NAMES), settings=_settings, row=_row, key=("experiment", "task", "seed"))
