"""Make the reference page of metrics from the docstrings of the metric functions."""

import inspect
import re

from softprompt_tf.tasks.metrics import METRICS

INTRODUCTION = """# Metrics

How answers are scored: names for `metrics` in a [task file](../how_to/write_a_task.md). `accuracy` suits most
tasks with labels. A prompt is chosen by the mean of its task's metrics. Values are in [0, 1] unless the text
says otherwise.

| name | what it is |
|---|---|
"""


def metric_page() -> str:
    """Return the page of all metrics, in the registry's order."""
    rows = [f"| `{name}` | {_as_note(metric.__doc__ or '')} |" for name, metric in METRICS.items()]
    return INTRODUCTION + "\n".join(row.replace("||", "\\|\\|") for row in rows) + "\n"


def _as_note(docstring: str) -> str:
    """Return a function's docstring as what its value is, without its section of errors."""
    text = re.sub(r"\nRaises:\n(  .*\n?)+", "", inspect.cleandoc(docstring))
    note = " ".join(text.split()).removeprefix("Return ")
    return f"{note[:1].upper()}{note[1:]}"
