"""What came of a comparison of backbones: runs enter, their means, a Markdown table and a bar chart leave.

Nothing here trains. Accuracies are fractions in a run and percentages in the table and the chart.
"""

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.files.atomic_file import write_atomically

PROMPT, MODEL = "prompt tuning", "model tuning"

# Told apart by the colour-blind too.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999")


@dataclass(frozen=True)
class FinishedRun:
    """One training run.

    Args:
      arm: the name of the backbone's arm.
      task: the task's name.
      method: `PROMPT` or `MODEL`.
      seed: the run's seed.
      accuracy: on the validation rows, of the evaluation that did best, in [0, 1].
      best_step: the step of the best one.
      majority: accuracy on the validation rows of their own commonest answer.
      num_rows: validation rows.
      test_accuracy: of the best weights on the test rows; None for a task without.
      test_majority: accuracy on the test rows of their own commonest answer, or None.
      seconds: of training and evaluating, those before a restart included.
    """

    arm: str
    task: str
    method: str
    seed: int
    accuracy: float
    best_step: int | None
    majority: float
    num_rows: int
    test_accuracy: float | None
    test_majority: float | None
    seconds: float


@dataclass(frozen=True)
class Summary:
    """Some runs of one kind.

    Args:
      mean: of their accuracies.
      deviation: their sample standard deviation (n - 1), None for a single run.
      count: how many they are.
    """

    mean: float
    deviation: float | None
    count: int


def write_report(
    output: Path, runs: Sequence[FinishedRun], *, tasks: Sequence[str], arms: Mapping[str, str], title: str
) -> str:
    """Write results.json, results.md and results.png.

    Args:
      output: where to.
      runs: what is reported. If there is none, the runs in the results.json of an earlier report.
      tasks, arms: as in `markdown_table`; other runs are left out.
      title: of the chart.

    Returns:
      The table.

    Raises:
      ConfigError: if no run is finished.
    """
    runs = [run for run in runs or _reported(output) if run.arm in arms and run.task in tasks]
    if not runs:
        raise ConfigError(f"A report needs a finished run of these arms and tasks. Received: none in {output}.")
    rows = json.dumps([asdict(run) for run in runs], indent=2) + "\n"
    write_atomically(output / "results.json", rows.encode("utf-8"), error_type=TrainingError)
    table = markdown_table(runs, tasks=tasks, arms=arms)
    write_atomically(output / "results.md", table.encode("utf-8"), error_type=TrainingError)
    write_plot(output / "results.png", runs, tasks=tasks, arms=arms, title=title)
    return table


def summarize(values: Iterable[float]) -> Summary | None:
    """Return mean and standard deviation of accuracies; None where there is none."""
    values = list(values)
    if not values:
        return None
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Summary(statistics.fmean(values), deviation, len(values))


def select(runs: Iterable[FinishedRun], *, task: str, arm: str, method: str) -> list[FinishedRun]:
    """Return the runs of one cell of the table, by seed."""
    chosen = [run for run in runs if (run.task, run.arm, run.method) == (task, arm, method)]
    return sorted(chosen, key=lambda run: run.seed)


def markdown_table(runs: Sequence[FinishedRun], *, tasks: Sequence[str], arms: Mapping[str, str]) -> str:
    """Write a table with one line for each task and arm that has a run.

    Args:
      runs: in any order.
      tasks: task names, in the order of the lines.
      arms: arm name -> what the table calls it, in the order of the lines within a task.

    Returns:
      Markdown. "81.2 ± 0.4 (3)" is the mean of 3 seeds in percent and their sample standard deviation.
    """
    has_test = any(run.test_accuracy is not None for run in runs)
    splits = ("validation", "test") if has_test else ("validation",)
    header = ["task", "backbone"]
    for split in splits:
        header += [f"{PROMPT}, {split}", f"{MODEL}, {split}", f"majority, {split}"]
    lines = [header, ["---", "---", *["---:"] * (len(header) - 2)]]
    for task in tasks:
        for arm, label in arms.items():
            cells = {method: select(runs, task=task, arm=arm, method=method) for method in (PROMPT, MODEL)}
            if any(cells.values()):
                lines.append([task, label, *(cell for split in splits for cell in _split_cells(cells, split))])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _reported(output: Path) -> list[FinishedRun]:
    """Return the runs of an earlier report, which may have had more fields."""
    path = output / "results.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return [FinishedRun(**{field.name: values[field.name] for field in fields(FinishedRun)}) for values in found]


def _split_cells(cells: Mapping[str, Sequence[FinishedRun]], split: str) -> list[str]:
    everything = [run for runs in cells.values() for run in runs]
    means = [_percent(summarize(_accuracies(cells[method], split))) for method in (PROMPT, MODEL)]
    return [*means, _majority(everything, split)]


def _accuracies(runs: Iterable[FinishedRun], split: str) -> list[float]:
    values = [run.accuracy if split == "validation" else run.test_accuracy for run in runs]
    return [value for value in values if value is not None]


def _percent(summary: Summary | None) -> str:
    if summary is None:
        return "-"
    if summary.deviation is None:
        return f"{100 * summary.mean:.1f}"
    return f"{100 * summary.mean:.1f} ± {100 * summary.deviation:.1f} ({summary.count})"


def _majority(runs: Iterable[FinishedRun], split: str) -> str:
    """Write the majority's accuracy; more than one, where runs were made on different rows, are all shown."""
    values = [run.majority if split == "validation" else run.test_majority for run in runs]
    return " / ".join(sorted({f"{100 * value:.1f}" for value in values if value is not None})) or "-"


def write_plot(
    path: Path, runs: Sequence[FinishedRun], *, tasks: Sequence[str], arms: Mapping[str, str], title: str
) -> None:
    """Draw validation accuracies: a group for each task, in it a bar for each arm's prompts.

    A diamond over a bar is model tuning of the same backbone, whiskers are one standard deviation, a dashed line across
    a group is the majority.

    Args:
      path: a .png file.
      runs, tasks, arms: as in `markdown_table`.
      title: stands above.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    tasks = [task for task in tasks if any(run.task == task for run in runs)]
    figure, axes = pyplot.subplots(figsize=(8, 4.6), dpi=150, layout="constrained")
    width = 0.8 / max(1, len(arms))
    for k, (arm, label) in enumerate(arms.items()):
        places = [group - 0.4 + (k + 0.5) * width for group in range(len(tasks))]
        style = {"color": _COLOURS[k % len(_COLOURS)], "width": 0.92 * width, "label": label}
        _draw_arm(axes, runs, tasks, arm, places, style)
    for group, task in enumerate(tasks):
        rates = {run.majority for run in runs if run.task == task}
        lines = axes.hlines([100 * rate for rate in rates], group - 0.45, group + 0.45, colors="black", linestyles="--")
        lines.set_label("majority" if group == 0 else "_")  # one entry in the legend
    axes.set(ylim=(0, 100), ylabel="accuracy on the validation rows, %", title=title)
    axes.set_xticks(range(len(tasks)), tasks)
    axes.spines[["top", "right"]].set_visible(False)
    axes.yaxis.grid(True, color="0.88")
    axes.set_axisbelow(True)
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    order = [label for label in (*arms.values(), MODEL, "majority") if label in handles]
    figure.legend(
        [handles[label] for label in order], order, loc="outside lower center", ncols=3, frameon=False, fontsize=9
    )
    figure.savefig(path)
    pyplot.close(figure)


def _draw_arm(
    axes: Any, runs: Sequence[FinishedRun], tasks: Sequence[str], arm: str, places: Sequence[float], style: dict
) -> None:
    """Draw one arm's bars and diamonds, where it has runs."""
    for method in (PROMPT, MODEL):
        found = [
            (place, summary)
            for place, task in zip(places, tasks, strict=True)
            if (summary := summarize(_accuracies(select(runs, task=task, arm=arm, method=method), "validation")))
        ]
        if not found:
            continue
        x = [place for place, _ in found]
        means = [100 * summary.mean for _, summary in found]
        errors = [math.nan if s.deviation is None else 100 * s.deviation for _, s in found]  # a NaN draws none
        if method == PROMPT:
            axes.bar(x, means, **style)
            axes.errorbar(x, means, yerr=errors, fmt="none", ecolor="black", capsize=3)
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1.2}
            for place, mean in zip(x, means, strict=True):
                axes.annotate(f"{mean:.1f}", (place, 2.5), ha="center", fontsize=8, bbox=box)
        else:
            is_first = MODEL not in axes.get_legend_handles_labels()[1]
            label = MODEL if is_first else None
            diamond = {"fmt": "D", "color": "black", "markerfacecolor": "white", "markersize": 6, "capsize": 3}
            axes.errorbar(x, means, yerr=errors, label=label, **diamond)
