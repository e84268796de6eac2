"""Where a process's memory goes: the figures of `benchmarks.process_floor` in, its parts by sides out."""

from typing import Any

from benchmarks.conditions import told
from benchmarks.measured_tables.kept_file import KeptFile

NAME = "process_floor"
PARTS = (
    "Python itself",
    "`import tensorflow`; `import torch`",
    "the other imports",
    "the weights",
)
KINDS = {"generate": "a first answer", "training_step": "three training steps instead"}
SIDES = {"ours": "ours", "peer": "PEFT", "ours_with_extras": "ours, with JAX, pandas, matplotlib and NLTK"}


def table_of(kept: dict[str, Any]) -> str:
    """Return resident MB after each part, and how much of it is pages of files."""
    columns = [name for head in SIDES.values() for name in (head, "of files")]
    lines = [f"| resident, MB, after | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    first = next(iter(KINDS))
    rows = [(part, first, k) for k, part in enumerate(PARTS)] + [(part, kind, -1) for kind, part in KINDS.items()]
    for part, kind, k in rows:
        notes = [kept[kind][side][k] for side in SIDES]
        cells = [f"{note[key]:,.0f}" for note in notes for key in ("resident", "of_files")]
        lines.append(f"| {part} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", told(kept)])


KEPT = KeptFile(NAME, table_of)
