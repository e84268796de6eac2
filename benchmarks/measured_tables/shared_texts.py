"""What many tasks cost that are asked of the same texts: the figures of `benchmarks.shared_texts` in, a table out.

benchmarks/results/shared_texts.json is the file that the benchmark writes.
"""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measured_tables import method_costs

NAME = "shared_texts"
KINDS = {"behind": "after the encoder", "adapters": "adapters in the decoder", "front": "in front"}


def take(directories: Sequence[Path], results: Path) -> None:
    """Copy the figures; see `method_costs.take`."""
    method_costs.take(directories, results, name=NAME)


def table(results: Path) -> str:
    """Return the table of the kept figures."""
    return table_of(json.loads((results / f"{NAME}.json").read_text(encoding="utf-8")))


def draw(results: Path) -> None:
    """Draw nothing: the page has the table alone."""


def table_of(kept: dict[str, Any]) -> str:
    """Return a row for each number of tasks: seconds, and the ratio to the fewest tasks, of each kind of task."""
    kinds, counts, seconds = kept["kinds"], kept["tasks"], kept["seconds"]
    names = " | ".join(f"{KINDS[kind]} | ratio" for kind in kinds)
    lines = [f"| tasks for each of {kept['texts']} texts | {names} |", "|---" * (1 + 2 * len(kinds)) + "|"]
    for count in counts:
        cells = [str(count)]
        for kind in kinds:
            own, first = seconds[f"{kind}, {count}"], seconds[f"{kind}, {counts[0]}"]
            cells += [f"{statistics.median(own):.2f} s", "" if count == counts[0] else _ratio(own, first)]
        lines.append(f"| {' | '.join(cells)} |")
    machine, load, rounds = kept["machine"], kept["load"], len(seconds["front, alone, both"])
    searched = _ratio(seconds["front, alone, both"], seconds["front, alone, plain"])
    return "\n".join(
        [
            *lines,
            "",
            f"The median, and the ratio to {counts[0]} task with its quartiles. `classify` with two labels, a T5 of "
            f"the shape `{kept['shape']}`, texts of {kept['tokens']} tokens,",
            f"{rounds} interleaved rounds; {machine['cores']} cores, {machine['processor']}, TensorFlow {machine['tensorflow']}; "
            f"load {load[0]:.1f} before, {load[1]:.1f} after.",
            f"If no two texts are equal, prompts in front take {searched} times as long as in an export of them alone.",
        ]
    )


def _ratio(above: Sequence[float], below: Sequence[float]) -> str:
    """Return the median of the rounds' ratios, with the quartiles."""
    low, middle, high = statistics.quantiles([a / b for a, b in zip(above, below, strict=True)], n=4)
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"
