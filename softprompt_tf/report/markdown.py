"""Write all results as one Markdown file with an SVG file per experiment, for a README or a model card."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from softprompt_tf.errors import DataError
from softprompt_tf.files.atomic_file import write_together
from softprompt_tf.report.experiments import experiment_of
from softprompt_tf.report.plots import plot, to_svg_file
from softprompt_tf.report.result import Result, by_experiment, check_results
from softprompt_tf.report.score_grid import MEAN_NOTE, SCORES_NOTE, Cell, ScoreGrid, score_grid

PLOTS = "plots"


def write_markdown_report(
    results: Sequence[Result],
    path: str | Path,
    *,
    title: str = "Prompt tuning: results",
    missing: Mapping[str, str] | None = None,
) -> Path:
    """Write the tables and plots of experiments: the file at `path`, which names plots/EXPERIMENT.svg beside it, written first.

    Args:
      results, title, missing: as `write_report` takes them.
      path: of the Markdown file; files that stand there are replaced.

    Returns:
      The path.

    Raises:
      DataError: if there is no result, a score is not a finite number from 0 to 100, or a file cannot be written.
      ConfigError: if matplotlib is not installed.
    """
    path = Path(path)
    check_results(results)
    found = by_experiment(results)
    parts = [f"# {plain(title)}", SCORES_NOTE]
    plots: dict[Path, bytes] = {}
    for (name, own), file_name in zip(found.items(), _file_names(found), strict=True):
        grid, plot_path = score_grid(name, own), f"{PLOTS}/{file_name}.svg"
        plots[path.parent / plot_path] = to_svg_file(plot(grid))
        parts += _section(grid, plot_path)
    absent = [
        f"- {plain(experiment_of(name).title)}: {plain(why)}"
        for name, why in (missing or {}).items()
        if name not in found
    ]
    if absent:
        parts += ["## Not in this report", "\n".join(absent)]
    page = ("\n\n".join(parts) + "\n").encode()
    return write_together({path: page, **plots}, error_type=DataError)[0]


def plain(text: object) -> str:
    """Return a text that Markdown, a table's cell included, shows as it is, on one line."""
    escaped = re.sub(r"([\\`*\[\]<>|#&~])", r"\\\1", " ".join(str(text).split()))
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", escaped)  # inside a word it is no mark


def _section(grid: ScoreGrid, plot_path: str) -> list[str]:
    title = plain(grid.experiment.title)
    note = "Scores from 0 to 100; mean ± sample standard deviation over seeds, their number in brackets where it is more than one."
    if grid.is_averaged:
        note += f" {MEAN_NOTE}"
    return [
        f"## {title}",
        *([plain(grid.experiment.question)] if grid.experiment.question else []),
        f"Backbone: {', '.join(map(plain, grid.backbones))}.",
        _table(grid),
        note,
        f"![{title}: the table above as a plot, whiskers of one standard deviation]({plot_path})",
    ]


def _table(grid: ScoreGrid) -> str:
    is_text = [all(isinstance(row[column], str) for row in grid.rows) for column in range(len(grid.header))]
    rule = ["---" if text else "---:" for text in is_text]
    rows = [[plain(text) for text in grid.header], rule, *([_cell(each) for each in row] for row in grid.rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(cell: Cell) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, str):
        return plain(cell)
    deviation = "" if cell.deviation is None else f" ± {cell.deviation:.1f}"
    return f"{cell.mean:.1f}{deviation}" + (f" ({cell.count})" if cell.count > 1 else "")


def _file_names(experiments: Iterable[str]) -> list[str]:
    """Return a name for each that every file system takes, that a link needs no escape for, and that no other one has."""
    names: list[str] = []
    for experiment in experiments:
        name = wanted = re.sub(r"[^A-Za-z0-9_-]+", "-", experiment).strip("-") or "experiment"
        number = 2
        while name.lower() in (taken.lower() for taken in names):
            name, number = f"{wanted}-{number}", number + 1
        names.append(name)
    return names
