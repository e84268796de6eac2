"""A measurement whose benchmark writes one file of figures: the file is kept, and a function makes its table."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DIGITS = 5


@dataclass(frozen=True)
class KeptFile:
    """A file of figures in benchmarks/results, and its table.

    Args:
      name: of the measurement, and of the file without `.json`.
      table_of: figures -> Markdown.
    """

    name: str
    table_of: Callable[[dict[str, Any]], str]

    def write(self, directory: Path, figures: dict[str, Any]) -> None:
        """Write the file, as the benchmark does at its end, and print the table."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{self.name}.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        print(f"\n{self.table_of(figures)}")

    def take(self, directories: Sequence[Path], results: Path) -> None:
        """Keep the file that the benchmark has written, with a line for each entry.

        Args:
          directories: one directory, which has `NAME.json`.
          results: benchmarks/results.

        Raises:
          ValueError: if there is more than one directory, or no such file.
        """
        figures = json.loads(only_file(directories, f"{self.name}.json").read_text(encoding="utf-8"))
        (results / f"{self.name}.json").write_text(compact(figures), encoding="utf-8")

    def table(self, results: Path) -> str | None:
        """Return the table of the kept figures; None where none are kept yet."""
        file = results / f"{self.name}.json"
        return self.table_of(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None

    def draw(self, results: Path) -> None:
        """Draw nothing: the page has the table alone."""


def only_file(directories: Sequence[Path], file: str) -> Path:
    """Return the path of a file in the only directory.

    Raises:
      ValueError: if there is more than one directory, or no such file.
    """
    if len(directories) != 1 or not (directories[0] / file).is_file():
        raise ValueError(
            f"There must be one directory, with {file}. Received: {', '.join(map(str, directories))}, which has none."
        )
    return directories[0] / file


def compact(figures: Mapping[str, Any]) -> str:
    """Return JSON with a line for each entry of a dictionary or list at the top level, and figures of `DIGITS` digits."""
    blocks = []
    for name, entries in _rounded(figures).items():
        if isinstance(entries, dict):
            lines, ends = [f"{json.dumps(key)}: {json.dumps(entry)}" for key, entry in entries.items()], "{}"
        elif isinstance(entries, list) and any(isinstance(entry, (dict, list)) for entry in entries):
            lines, ends = [json.dumps(entry) for entry in entries], "[]"
        else:
            blocks.append(f"  {json.dumps(name)}: {json.dumps(entries)}")
            continue
        inner = ",\n".join(f"    {line}" for line in lines)
        blocks.append(f"  {json.dumps(name)}: {ends[0]}\n{inner}\n  {ends[1]}")
    return "{\n" + ",\n".join(blocks) + "\n}\n"


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _rounded(own) for key, own in value.items()}
    if isinstance(value, list):
        return [_rounded(own) for own in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
