"""What many tasks cost that are asked of the same texts: the figures of `benchmarks.shared_texts` in, a table out.

benchmarks/results/shared_texts.json is the file that the benchmark writes; shared_answers.json the one of answers that are written.
"""

import statistics
from typing import Any

from benchmarks.conditions import told
from benchmarks.measured_tables.kept_file import KeptFile
from benchmarks.speed.figures import ratios, spread

NAME = "shared_texts"
KINDS = {"behind": "after the encoder", "adapters": "adapters in the decoder", "front": "in front"}


def table_of(kept: dict[str, Any]) -> str:
    """Return a row for each number of tasks: seconds, and the ratio to the fewest tasks, of each kind of task."""
    kinds, counts, seconds = kept["kinds"], kept["tasks"], kept["seconds"]
    names = " | ".join(f"{KINDS[kind]} | ratio" for kind in kinds)
    lines = [f"| tasks for each of {kept['texts']} texts | {names} |", "|---" * (1 + 2 * len(kinds)) + "|"]
    for count in counts:
        cells = [str(count)]
        for kind in kinds:
            own, first = seconds[f"{kind}, {count}"], seconds[f"{kind}, {counts[0]}"]
            cells += [f"{statistics.median(own):.2f} s", "" if count == counts[0] else spread(ratios(own, first))]
        lines.append(f"| {' | '.join(cells)} |")
    asked = f"Answers of {kept['written']} tokens" if kept.get("written") else "`classify` with two labels"
    searched = spread(ratios(seconds["front, alone, both"], seconds["front, alone, plain"]))
    return "\n".join(
        [
            *lines,
            "",
            f"The median, and the ratio to {counts[0]} task with its quartiles. {asked}, a T5 of "
            f"the shape `{kept['shape']}`, texts of {kept['tokens']} tokens,",
            f"{len(seconds['front, alone, both'])} interleaved rounds; {told(kept)}",
            f"If no two texts are equal, prompts in front take {searched} times as long as in an export of them alone.",
        ]
    )


KEPT = KeptFile(NAME, table_of)
WRITTEN = KeptFile("shared_answers", table_of)
