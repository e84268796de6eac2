"""Lay out one experiment's score table, for both forms of the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from softprompt_tf.report.experiments import Experiment, experiment_of, words_of
from softprompt_tf.report.result import Result, precisions_of
from softprompt_tf.report.statistics import RowKey, ScoreTable, Summary, is_number, score_table

Cell = str | Summary | None
SCORES_NOTE = (
    "Scores are of dev rows: the validation split, or the test split of a task that has no other. What is trained is scored at "
    "the step that did best on them, so these scores are optimistic. On rows of another task, nothing was chosen."
)
MEAN_NOTE = "“mean” is over all tasks, seed by seed; – where no seed ran every task."


@dataclass(frozen=True)
class ScoreGrid:
    """What one experiment's table and plot show.

    Args:
      experiment: how it is told.
      scores: its cells by their keys.
      names: of each row, without the value of a sweep over numbers, which is on the plot's axis.
      header: a text per column.
      rows: of each a text or two, then what was scored; None where nothing was run.
      is_averaged: whether the last column, or the last row, is the mean over all tasks.
      precisions: of each backbone, what its runs have computed in, as far as their settings say it.
    """

    experiment: Experiment
    scores: ScoreTable
    names: dict[RowKey, str]
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    is_averaged: bool
    precisions: Mapping[str, Sequence[str]]

    @property
    def backbones(self) -> list[str]:
        """All backbones in the order of the rows: their names, and the precision where it is another one than float32."""
        names = dict.fromkeys(row[0] for row in self.scores.rows)
        told = {name: " and ".join(self.precisions.get(name, ())) for name in names}
        return [name if precision in ("", "float32") else f"{name} in {precision}" for name, precision in told.items()]

    @property
    def x_name(self) -> str:
        """What a swept value is."""
        return self.experiment.x_name or "value"

    @property
    def is_swept(self) -> bool:
        """Whether the rows go through numbers, which are then on the plot's axis."""
        return _goes_through_numbers(self.scores)


def score_grid(name: str, results: Sequence[Result]) -> ScoreGrid:
    """Return the grid of one experiment's results: tasks across, or downwards where they are many and nothing is swept."""
    experiment = experiment_of(name)
    scores = score_table(results, is_backbone_swept=experiment.is_backbone_swept)
    names = _row_names(scores)
    is_averaged = bool(experiment.is_averaged and scores.means)
    has_x = any(x is not None for _, _, x in scores.rows)
    rows: list[tuple[Cell, ...]]
    if not has_x and len(scores.columns) > len(scores.rows):  # downwards, where a narrow page has room
        header = ["", *(names[row] for row in scores.rows)]
        rows = [(column, *(scores.cells.get((row, column)) for row in scores.rows)) for column in scores.columns]
        rows += [("mean", *(scores.means.get(row) for row in scores.rows))] if is_averaged else []
    else:
        x_name = experiment.x_name or "value"
        first = ["", x_name] if has_x and _has_arms(scores) else [x_name] if has_x else [""]
        header = [*first, *scores.columns, *["mean"][:is_averaged]]
        rows = [_row(row, scores, has_x=has_x, is_averaged=is_averaged) for row in scores.rows]
    return ScoreGrid(experiment, scores, names, tuple(header), tuple(rows), is_averaged, precisions_of(results))


def _has_arms(scores: ScoreTable) -> bool:
    """Say whether the rows differ in more than a swept value."""
    return len({row[:2] for row in scores.rows}) > 1


def number_text(value: Any) -> str:
    """Return a number with its thousands apart, a name in words, – for None."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else words_of(str(value))


def _goes_through_numbers(scores: ScoreTable) -> bool:
    return len(scores.rows) > 1 and all(is_number(x) for _, _, x in scores.rows)


def _row(row: RowKey, scores: ScoreTable, *, has_x: bool, is_averaged: bool) -> tuple[Cell, ...]:
    x = [number_text(row[2])] if has_x else []
    cells = [scores.cells.get((row, column)) for column in scores.columns]
    name = [] if has_x and not _has_arms(scores) else [_arm_name(row, scores)]
    return (*name, *x, *cells, *([scores.means.get(row)] if is_averaged else []))


def _row_names(scores: ScoreTable) -> dict[RowKey, str]:
    """Name each row by its arm, by its value where there is one arm, or by both; a swept number is on an axis already."""
    is_swept = _goes_through_numbers(scores)
    names = {}
    for row in scores.rows:
        arm, x = _arm_name(row, scores), "" if row[2] is None or is_swept else number_text(row[2])
        names[row] = x if x and not _has_arms(scores) else f"{arm}, {x}" if x else arm
    return names


def _arm_name(row: RowKey, scores: ScoreTable) -> str:
    backbones = {backbone for backbone, _, _ in scores.rows}
    return words_of(row[1]) if len(backbones) == 1 else f"{words_of(row[1])} ({row[0]})"
