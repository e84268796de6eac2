"""Make the reference page of metrics from the docstrings of the metric functions."""

import inspect

from softprompt_tf.tasks.metrics import METRICS

INTRODUCTION = """# Metrics

Names for `metrics` in a task file. A prompt is chosen by the mean of its task's metrics. Values are in
[0, 1] unless the text says otherwise.

| name | what it is |
|---|---|
"""


def metric_page() -> str:
    """Return the page of all metrics, in the registry's order."""
    rows = [
        f"| `{name}` | {' '.join(inspect.cleandoc(metric.__doc__ or '').split())} |" for name, metric in METRICS.items()
    ]
    return INTRODUCTION + "\n".join(row.replace("||", "\\|\\|") for row in rows) + "\n"
