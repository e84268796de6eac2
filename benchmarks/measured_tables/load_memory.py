"""Memory while a checkpoint loads: the figures of `benchmarks.load_memory` in, dtypes by sizes out."""

from typing import Any

from benchmarks.conditions import told
from benchmarks.measured_tables.kept_file import KeptFile

NAME = "load_memory"
COLUMNS = {  # shape, format -> head
    ("base", "hugging_face"): "Base",
    ("large", "hugging_face"): "Large",
    ("xl", "hugging_face"): "XL",
    ("base", "preset"): "Base, as a preset",
    ("large", "preset"): "Large, as a preset",
}


def table_of(kept: dict[str, Any]) -> str:
    """Return peak and model in MB and their ratio, of each dtype and size."""
    cells = {(row["shape"], row["format"], _kind(row)): _cell(row) for row in kept["loads"]}
    columns = {key: head for key, head in COLUMNS.items() if any(cell[:2] == key for cell in cells)}
    lines = [
        f"| T5 1.1, float16 files, loaded as | {' | '.join(columns.values())} |",
        "|---" * (1 + len(columns)) + "|",
    ]
    for kind in dict.fromkeys(kind for *_, kind in cells):
        lines.append(f"| {kind} | {' | '.join(cells.get((*key, kind), '') for key in columns)} |")
    return "\n".join([*lines, "", f"Peak / model in MB = ratio. {told(kept)}"])


def _kind(row: dict[str, Any]) -> str:
    return " of ".join(part for part in (row["quantization"], row["dtype"]) if part)


def _cell(row: dict[str, Any]) -> str:
    peak, weights = row["peak_bytes"], row["weight_bytes"]
    return f"{peak / 1e6:,.0f} / {weights / 1e6:,.0f} = {peak / weights:.2f}"


KEPT = KeptFile(NAME, table_of)
