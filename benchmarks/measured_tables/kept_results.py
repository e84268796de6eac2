"""The file in benchmarks/results that keeps the results of one kind of sweep: the settings that they share, and a line for each.

Two results whose settings differ are never in one file, and no run has two scores.
"""

import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from softprompt_tf.experiments.results import ResultStore, RunResult

Row = dict[str, Any]


def mean_of_seeds(scores: Sequence[float]) -> str:
    """Return the mean of one score or more; of several, with their standard deviation and their number in brackets."""
    deviation = f" ± {statistics.stdev(scores):.1f} ({len(scores)})" if len(scores) > 1 else ""
    return f"{statistics.fmean(scores):.1f}{deviation}"


class Kept(NamedTuple):
    """What a file holds.

    Args:
      settings: name of a part of the runs' configs -> its values, the same for all results.
      rows: a row for each result.
    """

    settings: dict[str, Any]
    rows: list[Row]


class KeptResults(NamedTuple):
    """A kind of sweep, and how its results become rows.

    Args:
      name: of the file, without `.json`.
      experiments: the names of the sweep's experiments.
      settings: a result -> what must be the same wherever it is known, by name.
      row: a result -> its row, which has a "score".
      key: names of a row's values that tell a run from the others.
    """

    name: str
    experiments: Sequence[str]
    settings: Callable[[RunResult], dict[str, Any]]
    row: Callable[[RunResult], Row]
    key: Sequence[str]

    def file(self, results: Path) -> Path:
        """Return the path of the file in benchmarks/results."""
        return results / f"{self.name}.json"

    def read(self, results: Path) -> Kept:
        """Return what is kept; nothing where there is no file."""
        if not self.file(results).exists():
            return Kept({}, [])
        kept = json.loads(self.file(results).read_text(encoding="utf-8"))
        return Kept(kept["settings"], kept["results"])

    def take(self, directories: Sequence[Path], results: Path) -> None:
        """Add the results of sweeps to the file.

        Args:
          directories: the outputs of sweeps.
          results: benchmarks/results.

        Raises:
          ValueError: if a directory has no result, the settings of two results differ, or one run has two scores.
        """
        settings, rows = self.read(results)
        by_key = {self._key(row): row for row in rows}
        for directory in directories:
            found = [result for result in ResultStore(directory / "results") if result.experiment in self.experiments]
            if not found:
                raise ValueError(
                    f"A directory must have results of {self.name}. Received: {directory}, which has none."
                )
            for result in found:
                self._add(result, directory, settings, by_key)
        self._write(results, settings, by_key)

    def _add(self, result: RunResult, directory: Path, settings: dict[str, Any], by_key: dict[Any, Row]) -> None:
        own, row = self.settings(result), self.row(result)
        if any(settings.get(name, value) != value for name, value in own.items()):
            raise ValueError(
                f"All results must have the same settings. Received: another one, {result.task} in {directory}."
            )
        key = self._key(row)
        if by_key.get(key, row)["score"] != row["score"]:
            raise ValueError(f"A run must have one score. Received: two, of {key}, the second in {directory}.")
        settings |= own
        by_key.setdefault(key, row)

    def _write(self, results: Path, settings: dict[str, Any], by_key: dict[Any, Row]) -> None:
        lines = ",\n".join(f"    {json.dumps(by_key[key])}" for key in sorted(by_key, key=str))
        text = json.dumps(settings, sort_keys=True)
        self.file(results).write_text(
            f'{{\n  "settings": {text},\n  "results": [\n{lines}\n  ]\n}}\n', encoding="utf-8"
        )

    def _key(self, row: Row) -> tuple[Any, ...]:
        return tuple(row[name] for name in self.key)
