"""What a late prompt loses on T5s that saw fewer tokens than `mini`: results of late layers on its earlier builds in, a table out.

benchmarks/results/late_builds.json keeps the settings that all results share, and one line for each result. The builds are in the
repository's history; docs/measurements/methods.md says how to get them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measured_tables import late_layers
from benchmarks.measured_tables.kept_results import KeptResults, Row, mean_of_seeds
from softprompt_tf.experiments.results import RunResult

NAME = "late_builds"
BUILDS = {"mini_22m": 22, "mini_49m": 49, "mini_76m": 76, "mini": 150}  # name -> millions of tokens seen


def take(directories: Sequence[Path], results: Path) -> None:
    """Add the results of sweeps to the file; see `KeptResults.take`."""
    KEPT.take(directories, results)


def table(results: Path) -> str | None:
    """Return a row for each build and a column for each layer; None where there is no result yet."""
    kept = KEPT.read(results)
    if not kept.rows:
        return None
    layers = [layer for layer in (0, 1, 2, 3, late_layers.BEHIND) if any(row["x"] == layer for row in kept.rows)]
    names = ["in front" if x == 0 else "after the encoder" if x == late_layers.BEHIND else f"layer {x}" for x in layers]
    lines = [f"| tokens seen | {' | '.join(names)} |", "|---" * (1 + len(layers)) + "|"]
    for build, tokens in BUILDS.items():
        cells = [_cell(kept.rows, build, layer) for layer in layers]
        if any(cells):
            lines.append(f"| {tokens} million | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(results: Path) -> None:
    """Draw nothing: the page has the table alone."""


def _cell(rows: Sequence[Row], build: str, layer: Any) -> str:
    scores = [row["score"] for row in rows if (row["backbone"], row["x"]) == (build, layer)]
    return mean_of_seeds(scores) if scores else ""


def _settings(result: RunResult) -> dict[str, Any]:
    run = result.config["run"]
    prompt = {key: value for key, value in run["prompt"].items() if key != "layer"}
    return {"task": result.task, "rows": run["rows"], "prompt": prompt, "training": run["training"]}


def _row(result: RunResult) -> Row:
    names = ("backbone", "seed", "x", "step")
    return {**{name: getattr(result, name) for name in names}, "score": round(result.score, 4)}


KEPT = KeptResults(NAME, (late_layers.NAME,), settings=_settings, row=_row, key=("backbone", "seed", "x"))
