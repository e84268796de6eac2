"""Mean, standard deviation and number of seeds of each cell of a table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from softprompt_tf.report.result import Result, column_of

RowKey = tuple[str, str, Any]  # (backbone, arm, x)


@dataclass(frozen=True)
class Summary:
    """Scores of one cell.

    Args:
      mean: 0 to 100.
      deviation: the sample standard deviation (n - 1); None for one score.
      count: how many scores, one per seed.
    """

    mean: float
    deviation: float | None
    count: int


def summarize(scores: Sequence[float]) -> Summary:
    """Return the mean and sample standard deviation of one score or more."""
    mean = math.fsum(scores) / len(scores)
    if len(scores) < 2:
        return Summary(mean, None, len(scores))
    return Summary(mean, math.sqrt(math.fsum((s - mean) ** 2 for s in scores) / (len(scores) - 1)), len(scores))


@dataclass(frozen=True)
class ScoreTable:
    """One experiment's cells.

    Args:
      rows: (backbone, arm, x), in the order of the results, numbers of one arm sorted.
      columns: tasks, in the order of the results.
      cells: (row, column) -> its summary; absent where nothing was run.
      means: row -> the summary of the mean over all columns, taken seed by seed over those seeds that ran every column.
    """

    rows: tuple[RowKey, ...]
    columns: tuple[str, ...]
    cells: dict[tuple[RowKey, str], Summary]
    means: dict[RowKey, Summary]


def score_table(results: Sequence[Result], *, is_backbone_swept: bool = False) -> ScoreTable:
    """Return the table of one experiment's results.

    Args:
      results: of one experiment.
      is_backbone_swept: whether a value of the sweep stands for a backbone. If so, and each value had one only, the rows of
        an arm belong together, and the backbone of each is the names of all.
    """
    common = _common_backbone(results) if is_backbone_swept else None
    scores: dict[tuple[RowKey, str], list[tuple[int | None, float]]] = {}
    for result in results:
        key = (common or result.backbone, result.arm, result.x)
        scores.setdefault((key, column_of(result)), []).append((result.seed, result.score))
    rows = _sorted_rows(list(dict.fromkeys(row for row, _ in scores)))
    columns = tuple(dict.fromkeys(column for _, column in scores))
    cells = {key: summarize([score for _, score in pairs]) for key, pairs in scores.items()}
    means = {}
    for row in rows:
        by_column = [dict(scores.get((row, column), [])) for column in columns]
        seeds = [seed for seed in by_column[0] if all(seed in column for column in by_column)]
        if seeds and len(columns) > 1:
            means[row] = summarize([math.fsum(c[seed] for c in by_column) / len(columns) for seed in seeds])
    return ScoreTable(tuple(rows), columns, cells, means)


def _common_backbone(results: Sequence[Result]) -> str | None:
    """Return the names of all backbones where the value of a sweep says which one it was, else None."""
    backbones = dict.fromkeys(result.backbone for result in results)
    pairs = {(result.x, result.backbone) for result in results}
    return ", ".join(backbones) if len(pairs) == len({x for x, _ in pairs}) else None


def is_number(x: Any) -> bool:
    """Say whether a sweep's value is a number, and not a truth value."""
    return isinstance(x, int | float) and not isinstance(x, bool)


def _sorted_rows(rows: list[RowKey]) -> list[RowKey]:
    first = {group: place for place, group in reversed(list(enumerate((b, a) for b, a, _ in rows)))}
    places = {row: place for place, row in enumerate(rows)}
    return sorted(rows, key=lambda row: (first[row[:2]], row[2] if is_number(row[2]) else math.inf, places[row]))
