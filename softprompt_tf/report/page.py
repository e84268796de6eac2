"""Write all results as one HTML file that needs no other file.

Small functions make the page, not a template engine: it has one layout and a dozen elements, and so one function escapes
every text, with no autoescape setting that a file's ending could switch off.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from softprompt_tf.errors import DataError
from softprompt_tf.files.atomic_file import write_atomically
from softprompt_tf.report.experiments import experiment_of
from softprompt_tf.report.markup import Markup, join, tag
from softprompt_tf.report.result import Result, by_experiment, check_results
from softprompt_tf.report.score_grid import SCORES_NOTE
from softprompt_tf.report.sections import distance_section, duration, experiment_section
from softprompt_tf.report.style import STYLE
from softprompt_tf.shown_numbers import counted
from softprompt_tf.version import __version__


def write_report(
    results: Sequence[Result],
    path: str | Path,
    *,
    title: str = "Prompt tuning: results",
    interpretability: Mapping[str, Any] | None = None,
    missing: Mapping[str, str] | None = None,
) -> Path:
    """Write the report of experiments, whole or not at all.

    Args:
      results: one or more, of any experiments; those that are known come first, in the paper's order.
      path: of the HTML file; a file that stands there is replaced.
      title: of the page.
      interpretability: what `softprompt inspect --output` writes to inspection.json, or `Inspection.to_json()`.
      missing: experiment -> why it has no results, for the list at the end.

    Returns:
      The path.

    Raises:
      DataError: if there is no result, a score is not a finite number from 0 to 100, or the file cannot be written.
      ConfigError: if matplotlib is not installed.
    """
    check_results(results)
    found = by_experiment(results)
    sections = [experiment_section(name, own, number=number) for number, (name, own) in enumerate(found.items())]
    headings = [experiment_of(name).title for name in found]
    if interpretability is not None:
        sections.append(distance_section(interpretability, number=len(found)))
        headings.append("What the prompts say")
    absent = {name: why for name, why in (missing or {}).items() if name not in found}
    body = join([_top(title, results, headings), *sections, _missing(absent)])
    return write_atomically(Path(path), html_page(title, body).encode(), error_type=DataError)


def _top(title: str, results: Sequence[Result], headings: Sequence[str]) -> Markup:
    seconds = sum(result.seconds or 0.0 for result in results)
    seeds = len({result.seed for result in results})
    links = [tag("li", tag("a", heading, href=f"#section-{number}")) for number, heading in enumerate(headings)]
    about = (
        f"{counted(len(results), 'result')}, {counted(seeds, 'seed' if seeds == 1 else 'different seed')}, "
        f"{duration(seconds)} of runs."
    )
    source = "The experiments follow Lester, Al-Rfou and Constant 2021, arXiv:2104.08691."
    return join(
        [
            tag("h1", title),
            tag("p", f"{about} {source} Written by softprompt-tf {__version__}.", class_="soft"),
            tag("p", SCORES_NOTE, class_="soft"),
            tag("nav", tag("ul", *links), aria_label="Sections"),
        ]
    )


def _missing(reasons: Mapping[str, str]) -> Markup:
    if not reasons:
        return Markup("")
    items = [tag("li", f"{experiment_of(name).title}: {why}") for name, why in reasons.items()]
    return tag("section", tag("h2", "Not in this report"), tag("ul", *items))


def html_page(title: str, body: Markup) -> str:
    """Return a complete page in the report's style."""
    head = join(
        [
            Markup('<meta charset="utf-8">'),
            Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Markup('<link rel="icon" href="data:,">'),  # else a browser asks the server for one
            tag("title", title),
            Markup(f"<style>{STYLE}</style>"),
        ]
    )
    return f"<!DOCTYPE html>\n{tag('html', tag('head', head), tag('body', tag('main', body)), lang='en')}\n"
