"""Draw a score table with error bars, as inline SVG or as an SVG file."""

import io
import re
from collections.abc import Sequence
from typing import Any

from softprompt_tf.errors import ConfigError
from softprompt_tf.report.markup import Markup, text
from softprompt_tf.report.score_grid import ScoreGrid
from softprompt_tf.report.statistics import RowKey, ScoreTable, Summary
from softprompt_tf.report.style import LIGHT

INK = "#010203"  # a colour that nothing else has: it becomes the page's own, light or dark
FILE_INK = "#1b1b1b"
SERIES = tuple(f"#0102{index + 16:02x}" for index in range(len(LIGHT)))
MARKERS = "osD^vPX"
MAX_LINES = len(LIGHT)
HATCHES = ("", "//", "..", "xx", "\\\\", "--", "++")


def check_plots_can_be_drawn() -> None:
    """Look for matplotlib, for those who would rather know before hours of runs than after.

    Raises:
      ConfigError: if matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ConfigError("A report needs matplotlib for its plots: pip install 'softprompt-tf[report]'.") from error


def figure_of(width: float, height: float) -> Any:
    """Return an empty matplotlib figure, inches.

    Raises:
      ConfigError: if matplotlib is not installed.
    """
    check_plots_can_be_drawn()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def plot(grid: ScoreGrid) -> Any:
    """Return a figure of one experiment: lines over a swept number, bars else; whiskers are one standard deviation."""
    return _lines(grid) if grid.is_swept else _bars(grid)


def to_svg_file(figure: Any) -> bytes:
    """Return a figure as an SVG file of its own: black on white, the light page's colours, equal for equal figures."""
    content = _svg_text(figure, hash_salt="plot", transparent=False, facecolor="white")
    for colour, shown in zip((INK, *SERIES), (FILE_INK, *LIGHT), strict=True):
        content = content.replace(colour, shown)
    return content.encode()


def to_svg(figure: Any, *, prefix: str, alternative: str) -> Markup:
    """Return a figure as an inline SVG element that names nothing outside itself.

    Args:
      figure: matplotlib's.
      prefix: of the ids inside, so that two plots of a page do not share one.
      alternative: what the picture shows, for those who do not see it.
    """
    content = _svg_text(figure, hash_salt=prefix, transparent=True)
    content = content[content.index("<svg") :]
    content = re.sub(r'\bid="', f'id="{prefix}-', content)
    content = re.sub(r'(href="#|url\(#)', rf"\1{prefix}-", content)
    content = content.replace(INK, "currentColor")
    for index, colour in enumerate(SERIES):
        content = content.replace(colour, f"var(--series-{index})")
    content = re.sub(r"font: ([^;\"']*?)(?:'[^\"]*|sans-serif[^\";]*)", r"font: \1sans-serif", content)
    return Markup(content.replace("<svg", f'<svg role="img" aria-label="{text(alternative)}"', 1).strip())


def _svg_text(figure: Any, *, hash_salt: str, **settings: Any) -> str:
    """Return matplotlib's SVG document; its texts stay texts."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": hash_salt, "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, **settings)
    return re.sub(r"<metadata>.*?</metadata>\s*", "", buffer.getvalue(), flags=re.DOTALL)


def paint_axes(axes: Any) -> None:
    """Give an axes the page's ink."""
    axes.tick_params(colors=INK)
    axes.spines[:].set_color(INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)


def _lines(grid: ScoreGrid) -> Any:
    table = grid.scores
    figure = figure_of(4.8, 3.6)
    axes = figure.add_subplot()
    xs = sorted({x for _, _, x in table.rows})
    for index, (label, points) in enumerate(_series(table, grid.names)):
        look = index % MAX_LINES
        axes.errorbar(
            [x for x, _ in points],
            [summary.mean for _, summary in points],
            yerr=[_whisker(summary) for _, summary in points],
            label=label,
            color=SERIES[look],
            marker=MARKERS[look],
            markersize=5,
            capsize=3,
            linewidth=1.6,
            linestyle=("-", "--", "-.", ":")[index % 4],
        )
    if grid.experiment.is_log_scaled and xs[0] > 0:
        axes.set_xscale("log")
        axes.minorticks_off()
    axes.set_xticks(xs, [f"{x:,}" if isinstance(x, int) else f"{x:g}" for x in xs])
    axes.set_xlabel(grid.x_name)
    axes.set_ylabel("score (0 to 100)")
    finish(figure, axes)
    return figure


def _series(table: ScoreTable, names: dict[RowKey, str]) -> list[tuple[str, list[tuple[Any, Summary]]]]:
    """Return a line per arm and task, or per arm's mean over the tasks where the lines would be too many."""
    arms = list(dict.fromkeys(row[:2] for row in table.rows))
    is_full = len(arms) * len(table.columns) <= MAX_LINES or not table.means
    series = []
    for arm in arms:
        rows = [row for row in table.rows if row[:2] == arm]
        for column in table.columns if is_full else [None]:
            cells = [
                (row[2], table.means.get(row) if column is None else table.cells.get((row, column))) for row in rows
            ]
            points = [(x, summary) for x, summary in cells if summary is not None]
            shown = "mean of the tasks" if column is None else column
            label = shown if len(arms) == 1 else f"{names[rows[0]]}: {shown}"
            if points:
                series.append((label, points))
    return series


def _bars(grid: ScoreGrid) -> Any:
    """Draw a group of horizontal bars per task, one bar per row: names stay readable on a narrow page."""
    table = grid.scores
    bars = len(table.columns) * len(table.rows)
    figure = figure_of(4.8, 1.3 + 0.17 * bars + 0.2 * len(table.columns) + 0.17 * len(table.rows))
    axes = figure.add_subplot()
    height = 0.8 / len(table.rows)
    for index, row in enumerate(table.rows):
        found = [(place, table.cells[row, c]) for place, c in enumerate(table.columns) if (row, c) in table.cells]
        axes.barh(
            [place + (index - (len(table.rows) - 1) / 2) * height for place, _ in found],
            [summary.mean for _, summary in found],
            height=height * 0.86,
            xerr=[_whisker(summary) for _, summary in found],
            label=grid.names[row],
            color=SERIES[index % len(SERIES)],
            hatch=HATCHES[(index // len(SERIES)) % len(HATCHES)],
            error_kw={"ecolor": INK, "capsize": 2.5, "elinewidth": 1},
        )
    axes.set_yticks(range(len(table.columns)), table.columns)
    # Downwards, and the same room for each task: one whose last bars are missing keeps its name.
    axes.set_ylim(len(table.columns) - 0.55, -0.45)
    axes.set_xlim(0, 100)
    axes.set_xlabel("score (0 to 100)")
    finish(figure, axes)
    return figure


def _whisker(summary: Summary) -> float:
    """Return the whisker's length; NaN, which is not drawn, where one seed has none."""
    return float("nan") if summary.deviation is None else summary.deviation


def finish(figure: Any, axes: Any) -> None:
    """Give a figure the page's ink, and a legend above it where there is more than one series."""
    paint_axes(axes)
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(
            handles, labels, loc="outside upper center", ncols=_columns(labels), frameon=False, labelcolor=INK
        )


def _columns(labels: Sequence[str]) -> int:
    return 2 if max(map(len, labels)) <= 28 else 1
