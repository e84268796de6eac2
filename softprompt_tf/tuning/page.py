"""Show a search as a page in the style of the reports: its result, its learning curves and all that it tried."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.files.atomic_file import write_together
from softprompt_tf.report.markup import Markup, join, table, tag
from softprompt_tf.report.page import html_page
from softprompt_tf.report.plots import MARKERS, SERIES, check_plots_can_be_drawn, figure_of, finish, to_svg, to_svg_file
from softprompt_tf.report.sections import duration
from softprompt_tf.shown_numbers import counted
from softprompt_tf.tuning.record import LAST, Record, Tried
from softprompt_tf.version import __version__

PAGE, PICTURE = "index.html", "learning_curve.svg"
_GREY = "#8a8a8a"
HEADER = ("candidate", "rung", "steps", "dev score", "log-probability", "seconds")


def check_picture() -> None:
    """Say before the search that it will have no picture, where matplotlib is missing.

    Warns:
      UserWarning: if it is.
    """
    try:
        check_plots_can_be_drawn()
    except ConfigError as error:
        warnings.warn(f"The search goes on without a picture of its learning curves. {error}", stacklevel=2)


def write_page(record: Record, output: Path, *, task: str, backbone: str, next_command: str = "") -> None:
    """Write the page and the picture of a search, also of one in progress."""
    figure = _picture(record)
    picture = {} if figure is None else {output / PICTURE: to_svg_file(figure)}
    title = f"A prompt for {task}"
    state = "" if record.finished else "The search is not finished. "
    precision = record.identity.get("precision", "float32")
    told = backbone if precision == "float32" else f"{backbone} in {precision}"
    about = (
        f"{state}{duration(record.spent_s)} of {counted(record.minutes, 'minute')}, "
        f"{counted(len(record.candidates), 'candidate')} on {told}. Written by softprompt-tf {__version__}."
    )
    parts = [
        tag("h1", title),
        tag("p", about, class_="soft"),
        _result(record),
        _curves(figure),
        _tried(record),
        _rows(record),
        tag("section", tag("h2", "Next"), tag("pre", next_command)) if next_command else "",
    ]
    page = html_page(title, join(parts)).encode()
    write_together({output / PAGE: page, **picture}, error_type=TrainingError)


def tried_rows(record: Record) -> list[list[str]]:
    """Return a row of words for each look at a candidate, by `HEADER`."""
    names = {each["number"]: each["name"] for each in record.candidates}
    return [
        [
            f"{each.candidate}. {names.pop(each.candidate, '')}".strip(),  # the name at its first look
            each.rung,
            f"{each.steps:,}",
            _score(each),
            "" if each.log_probability is None else f"{each.log_probability:.3f}",
            f"{each.seconds:.0f}",
        ]
        for each in record.tried
    ]


def _score(tried: Tried) -> str:
    if tried.score is None:
        return "failed" if tried.failure else "no number"
    return f"{tried.score:.4f}" + ("" if tried.one_answer is None else " (one answer)")


def _result(record: Record) -> Markup:
    if not record.result:
        return Markup("")
    result = record.result
    names = list(result["dev"]["metrics"])
    rows = []
    for split, use in (("dev", "chose the prompt"), ("test", "chose nothing")):
        figures = result[split]
        rows.append([f"{split}, {rows_scored(figures)}, {use}", *_values(figures["metrics"], names)])
        if "majority" in figures:
            rows.append(["majority baseline", *_values(figures["majority"], names)])
    warned = one_answer_warning(result)
    return tag(
        "section",
        tag("h2", "Result"),
        tag("p", f"{result['candidate']['name']}, after {counted(result['steps'], 'step')}: {result['prompt']}"),
        tag("p", tag("strong", warned)) if warned else "",
        table("Scores of the prompt", ["rows", *names], rows),
        tag("p", "Report the test row: the dev rows chose the prompt, so their scores are optimistic.", class_="soft"),
    )


def one_answer_warning(result: Mapping[str, Any]) -> str:
    """Return a warning where a prompt gives one answer to all rows; "" else."""
    answer = result["test"]["one_answer"]
    if answer is None:
        return ""
    return (
        f"The prompt has learned one answer for all {counted(result['test']['rows'], 'test row')}: {answer!r}. It is worth "
        "no more than the majority baseline. Check the labels and the template, give more minutes, or take a larger T5."
    )


def rows_scored(figures: Mapping[str, Any]) -> str:
    """Return how many rows were scored, and of how many, where it was not all."""
    of = "" if figures["rows"] == figures["of"] else f" of {figures['of']:,}"
    return f"{counted(figures['rows'], 'row')}{of}"


def _values(metrics: Mapping[str, float], names: Sequence[str]) -> list[str]:
    return [f"{metrics[name]:.4f}" for name in names]


def _curves(figure: Any) -> Markup:
    if figure is None:
        return Markup("")
    svg = to_svg(
        figure, prefix="curve", alternative="Dev score of each candidate by seconds; the table has the values."
    )
    caption = "Dev score of each candidate by the seconds that it was given. All are scored on the same dev rows."
    return tag("section", tag("h2", "Learning curves"), tag("figure", svg, tag("figcaption", caption)))


def _tried(record: Record) -> Markup:
    note = (
        "In a rung, each candidate has the same seconds; the best go on, with a new start of the rate. The last leg is of the best "
        "one alone. Scores within one standard error of the best are ranked by the mean log-probability of the right labels."
    )
    found = table("All that was tried", HEADER, tried_rows(record))
    return tag("section", tag("h2", "What was tried"), found, tag("p", note, class_="soft"))


def _rows(record: Record) -> Markup:
    counts = [counted(count, use.removesuffix("s")) for use, count in record.rows.get("counts", {}).items()]
    notes = [tag("li", note) for note in record.rows.get("notes", ())]
    return tag("section", tag("h2", "Rows"), tag("p", f"{', '.join(counts)}."), tag("ul", *notes) if notes else "")


def _picture(record: Record) -> Any:
    """Return the figure; None where matplotlib is missing or there is nothing to draw."""
    try:
        figure = figure_of(6.4, 3.8)
    except ConfigError:
        return None
    axes = figure.add_subplot()
    names = {each["number"]: f"{each['number']}. {each['name']}" for each in record.candidates}
    going_on = [number for number in names if any(t.candidate == number and t.rung != "1" for t in record.tried)]
    for number in names:
        tries = [each for each in record.tried if each.candidate == number and each.score is not None]
        if not tries:
            continue
        spent = [sum(each.seconds for each in tries[: place + 1]) for place in range(len(tries))]
        scores = [each.score for each in tries]
        if number in going_on:
            look = going_on.index(number) % len(SERIES)
            axes.plot(spent, scores, color=SERIES[look], marker=MARKERS[look], markersize=4.5, label=names[number])
        else:
            axes.plot(spent, scores, color=_GREY, marker="x", linestyle="")
            axes.annotate(
                str(number), (spent[-1], scores[-1]), textcoords="offset points", xytext=(4, 3), color=_GREY, fontsize=8
            )
    first = min((place for place, each in enumerate(record.tried) if each.rung == LAST), default=None)
    if first is not None and first > 0:
        before = [each for each in record.tried[:first] if each.candidate == record.tried[first].candidate]
        axes.axvline(sum(each.seconds for each in before), color=_GREY, linewidth=0.8, linestyle=":")
    axes.set_xlabel("seconds of the candidate")
    axes.set_ylabel("dev score")
    finish(figure, axes)
    return figure
