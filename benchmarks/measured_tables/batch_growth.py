"""Scores of batches that grow beside steady ones, after as many rows: the figures of `benchmarks.batch_growth` in, a table out.

benchmarks/results/batch_growth.json is the file that the benchmark writes.
"""

from typing import Any

from benchmarks.measured_tables.kept_file import KeptFile
from benchmarks.measured_tables.kept_results import mean_of_seeds
from benchmarks.measured_tables.task_names import TASK_NAMES

NAME = "batch_growth"


def table_of(kept: dict[str, Any]) -> str:
    """Return a row for each task and kind of batch, a column for each number of rows."""
    every, runs = kept["scored_every"], kept["scores"]
    counts = range(every, kept["rows"] + 1, every)
    lines = [f"| task | rows of a batch | {' | '.join(f'{count:,} rows' for count in counts)} |"]
    lines.append("|---" * (2 + len(counts)) + "|")
    for task, batch in dict.fromkeys((run["task"], run["batch"]) for run in runs):
        own = [run["scores"] for run in runs if (run["task"], run["batch"]) == (task, batch)]
        cells = [mean_of_seeds([100 * scores[place] for scores in own]) for place in range(len(counts))]
        lines.append(f"| {TASK_NAMES.get(task, task)} | {batch} | {' | '.join(cells)} |")
    training = kept["training"]
    return "\n".join(
        [
            *lines,
            "",
            "Dev accuracy of `mini`, not that of the best step: adapters in the decoder, "
            f"{training['optimizer'].capitalize()} at {training['learning_rate']} ({training['schedule']}, a tenth of the",
            "steps is warm-up), 500 dev rows. Mean ± standard deviation over seeds, their number in brackets.",
        ]
    )


KEPT = KeptFile(NAME, table_of)
