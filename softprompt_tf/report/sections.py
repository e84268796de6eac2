"""The section of one experiment: question, table, plot, published figures, runs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from softprompt_tf.report.experiments import words_of
from softprompt_tf.report.markup import Markup, details, join, table, tag
from softprompt_tf.report.plots import INK, plot, to_svg
from softprompt_tf.report.published import published_for
from softprompt_tf.report.result import Result, column_of
from softprompt_tf.report.score_grid import MEAN_NOTE, ScoreGrid, number_text, score_grid
from softprompt_tf.report.statistics import ScoreTable, Summary
from softprompt_tf.shown_numbers import counted


def experiment_section(name: str, results: Sequence[Result], *, number: int) -> Markup:
    """Return the section of one experiment; `number` makes its ids different from those of the others."""
    grid = score_grid(name, results)
    experiment = grid.experiment
    parts = [
        tag("h2", experiment.title, id=f"section-{number}"),
        tag("p", experiment.question) if experiment.question else "",
        tag("p", f"Backbone: {', '.join(grid.backbones)}.", class_="soft"),
        _score_table(grid),
        _figure(grid, number=number),
        _published(name, grid.scores),
        _runs(results),
    ]
    return tag("section", *parts)


def cell(summary: Summary | None) -> Markup:
    """Return a cell of a table: the mean, the deviation where there are two seeds or more, and how many seeds."""
    if summary is None:
        return Markup("–")
    deviation = "" if summary.deviation is None else f" ± {summary.deviation:.2f}"
    seeds = counted(summary.count, "seed")
    return join([f"{summary.mean:.2f}{deviation}", tag("span", seeds, class_="n")])


def _score_table(grid: ScoreGrid) -> Markup:
    rows = [[each if isinstance(each, str) else cell(each) for each in row] for row in grid.rows]
    note = "Mean ± sample standard deviation over seeds."
    if grid.is_averaged:
        note += f" {MEAN_NOTE}"
    return join([table("Scores from 0 to 100", grid.header, rows), tag("p", note, class_="soft")])


def _figure(grid: ScoreGrid, *, number: int) -> Markup:
    scores, title = grid.scores, grid.experiment.title
    alternative = f"{title}: " + "; ".join(
        f"{grid.names[row]}{f', {number_text(row[2])}' if grid.is_swept else ''}, {column}: "
        f"{scores.cells[row, column].mean:.2f}"
        for row in scores.rows
        for column in scores.columns
        if (row, column) in scores.cells
    )
    caption = "Whiskers: one sample standard deviation over seeds; none where there is one seed."
    svg = to_svg(plot(grid), prefix=f"plot-{number}", alternative=alternative)
    return tag("figure", svg, tag("figcaption", f"{title}. {caption}"))


def _published(name: str, scores: ScoreTable) -> Markup:
    rows = [
        [f"{words_of(row[1])}, {column}", cell(scores.cells[row, column]), row[0], figure.text]
        for row in scores.rows
        for column in scores.columns
        for figure in published_for(name, row[1], column)
        if (row, column) in scores.cells
    ]
    if not rows:
        return tag(
            "p",
            "No figure of the method's authors is put beside these: none of the same task and method "
            "is among those that this report holds with its source.",
            class_="soft",
        )
    found = {(f.model, f.source) for row in scores.rows for c in scores.columns for f in published_for(name, row[1], c)}
    notes = [tag("p", f"Published with: {model}. Source: {source}.", class_="soft") for model, source in sorted(found)]
    return join(
        [
            tag("h3", "Beside the published figures"),
            table("Ours and theirs", ["", "here", "backbone here", "published"], rows),
            tag("p", "Figures of two different backbones are not comparable one to one.", class_="soft"),
            *notes,
        ]
    )


def _runs(results: Sequence[Result]) -> Markup:
    configs: dict[str, list[int]] = {}
    rows = []
    for number, result in enumerate(results, 1):
        configs.setdefault(json.dumps(result.config, indent=2, sort_keys=True, default=str), []).append(number)
        metrics = ", ".join(f"{metric} {value:.4g}" for metric, value in result.metrics.items())
        rows.append(
            [
                number,
                words_of(result.arm),
                number_text(result.x),
                column_of(result),
                number_text(result.seed),
                f"{result.score:.2f}",
                metrics,
                number_text(result.step),
                duration(result.seconds),
                result.backbone,
            ]
        )
    header = ["run", "arm", "value", "task", "seed", "score", "metrics", "step", "time", "backbone"]
    settings = [
        join([tag("p", f"Run {', '.join(map(str, numbers))}:"), tag("pre", config, tabindex="0")])
        for config, numbers in configs.items()
    ]
    total = sum(result.seconds or 0.0 for result in results)
    return join(
        [
            details(f"{counted(len(rows), 'run')}, {duration(total)} together", table("Every run.", header, rows)),
            details(f"Configurations: {len(configs)}", *settings),
        ]
    )


def distance_section(inspection: Mapping[str, Any], *, number: int) -> Markup:
    """Return the section of `softprompt inspect`'s JSON: class labels, words, and distances with a heat map."""
    from softprompt_tf.interpretability.heat_map import draw_heat_map

    parts = [tag("h2", "What the prompts say", id=f"section-{number}")]
    rows = [_prompt_row(prompt) for prompt in inspection["prompts"]]
    header = [
        "prompt",
        "vectors in clusters",
        "label words near",
        "of these from the start",
        "words of several vectors",
    ]
    parts.append(tag("p", "By the pieces of the vocabulary nearest to each vector, cosine."))
    parts.append(table("Prompts", header, rows))
    distances = inspection["distances"]
    names = distances["names"]
    if len(names) > 1:
        for key, title in (("mean_cosine", "mean vectors"), ("matched_cosine", "best-matching pairs of vectors")):
            values = np.asarray(distances[key])
            svg = to_svg(
                draw_heat_map(names, values, title=title, ink=INK),
                prefix=f"heat-{number}-{key}",
                alternative=f"Heat map of the cosines between prompts, {title}; the table beside it has the values.",
            )
            numbers = [[name, *(f"{value:.3f}" for value in row)] for name, row in zip(names, values, strict=True)]
            caption = f"Cosine between prompts, {title}; 1 - cosine is their distance."
            parts += [tag("figure", svg, tag("figcaption", caption)), table("Cosines", ["", *names], numbers)]
    return tag("section", *parts)


def _prompt_row(prompt: Mapping[str, Any]) -> list[object]:
    clustered = [group for group in prompt["clusters"] if len(group) > 1]
    total = sum(map(len, prompt["clusters"]))
    labels = prompt.get("labels")
    near = "–" if not labels else f"{len(labels['found'])} of {len(labels['words'])}"
    kept = "–"
    if labels and labels["persisted"] is not None:
        kept = f"{len(labels['persisted'])} of {len(labels['found_at_start'])}"
    words = ", ".join(list(prompt.get("shared_words", {}))[:8]) or "–"
    return [prompt["name"], f"{sum(map(len, clustered))} of {total}", near, kept, words]


def duration(seconds: float | None) -> str:
    """Return a time in words, such as "2 min 5 s"; – where it is not known."""
    if seconds is None:
        return "–"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
