"""Say how a search ended: a table of what it tried, the scores, and what to run next."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from softprompt_tf.evaluation.by_label import LabelScore, label_table
from softprompt_tf.runs.summary import export_command
from softprompt_tf.tuning.page import HEADER, one_answer_warning, rows_scored, tried_rows
from softprompt_tf.tuning.record import PREDICTIONS, Record

_MOST_LABELS = 12


def table_lines(record: Record) -> list[str]:
    """Return the table of all that was tried."""
    rows = [list(HEADER), *tried_rows(record)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEADER))]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]


def next_command(prompt: Path, output: Path, *, task: str, backbone: str) -> str:
    """Return the command that makes a SavedModel of the prompt."""
    return export_command({task: prompt}, output, backbone=backbone)


def summary_lines(record: Record, output: Path, *, task: str, backbone: str) -> list[str]:
    """Return the lines for a finished search."""
    result = record.result
    prompt, answers = output / result["prompt"], output / PREDICTIONS
    names = list(result["dev"]["metrics"])
    rows = []
    for split in ("dev", "test"):
        figures = result[split]
        rows.append((f"{split}, {rows_scored(figures)}", figures["metrics"]))
        rows += [("  majority baseline", figures["majority"])] if "majority" in figures else []
    width = max(len(what) for what, _ in rows)
    warned = one_answer_warning(result)
    return [
        *table_lines(record),
        "",
        f"{task}: prompt in {prompt}; {result['candidate']['name']}, step {result['steps']}",
        " " * width + "".join(f"  {name}" for name in names),
        *(
            what.ljust(width) + "".join(f"  {metrics[name]:>{max(len(name), 6)}.4f}" for name in names)
            for what, metrics in rows
        ),
        *([warned] if warned else []),
        *_by_label(result["test"]),
        "Report the test score: the dev rows chose the prompt.",
        *([f"Its answers to the test rows: {answers}"] if answers.is_file() else []),
        f"The search took {record.spent_s:.0f} of {60 * record.minutes:.0f} s. All that was tried: {output / 'index.html'}",
        "",
        f"Next: {next_command(prompt, output, task=task, backbone=backbone)}",
    ]


def _by_label(figures: Mapping[str, Any]) -> list[str]:
    """Return the test rows' scores by label, if they are few enough to be read."""
    scores = [LabelScore(**each) for each in figures.get("by_label", ())]
    return ["", *label_table(scores), ""] if 0 < len(scores) <= _MOST_LABELS else []
