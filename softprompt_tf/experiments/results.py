"""Write and read the results of runs, one JSON file each.

A run is known by the digest of its config: whoever asks for the same config again gets the result that is there.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from softprompt_tf.errors import DataError, TrainingError
from softprompt_tf.files.atomic_file import write_atomically

FORMAT = "softprompt-tf-result/1"


@dataclasses.dataclass(frozen=True)
class RunResult:
    """One run's outcome on one task.

    Args:
      experiment: such as "methods" or "prompt_length".
      arm: what is compared, such as "prompt_tuning".
      x: the value that a sweep goes through, such as the prompt's length; None where there is none.
      task: what it was trained on.
      eval_task: what it was scored on; the same, or another for domain shift.
      seed: of the run; of an ensemble, its first member's.
      metrics: name -> value, as the task reports them.
      score: the mean of the metrics, 0 to 100; a mean below 0, which Matthews' correlation may have, counts as 0.
      step: of the scored prompt or weights; None where nothing was trained.
      seconds: that the run took, restarts included, divided among the tasks of a multi-task run; a prompt that two experiments
        share took them once.
      backbone: the T5's name.
      config: all that decides the run's outcome, JSON values.

    Raises:
      DataError: if the score is no number from 0 to 100.
    """

    experiment: str
    arm: str
    x: float | str | None
    task: str
    eval_task: str
    seed: int
    metrics: dict[str, float]
    score: float
    step: int | None
    seconds: float
    backbone: str
    config: dict[str, Any]

    def __post_init__(self) -> None:
        if not (math.isfinite(self.score) and 0 <= self.score <= 100):
            raise DataError(f"A result's `score` must be a number from 0 to 100. Received: score={self.score}.")


def digest(config: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits that differ where two configs of JSON values do; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


def score_of(metrics: Mapping[str, float]) -> float:
    """Return the mean of metrics in [0, 1] as a score from 0 to 100; a mean below 0 counts as 0.

    Raises:
      DataError: if there is no metric.
    """
    if not metrics:
        raise DataError("A score needs at least one metric. Received: none.")
    return min(100.0, max(0.0, 100.0 * math.fsum(metrics.values()) / len(metrics)))


class ResultStore:
    """The results in one directory, a JSON file each, named by the digest of its config.

    Args:
      directory: made at the first write.

    Example:
      >>> store = ResultStore("runs/reproduce/results")
      >>> if not store.is_finished(config):
      ...     store.write(run(config))
      >>> results = store.results()
    """

    def __init__(self, directory: str | Path):
        self.directory = Path(directory)

    def __iter__(self) -> Iterator[RunResult]:
        return iter(self.results())

    def results(self) -> list[RunResult]:
        """Return all results, sorted by experiment, arm, value, task, evaluated task and seed.

        Raises:
          DataError: if a file is damaged or of another kind; names it.
        """
        found = [_read(path) for path in self.directory.glob("*.json")]
        return sorted(found, key=_order)

    def is_finished(self, config: Mapping[str, Any]) -> bool:
        """Say whether the run of this config has a result."""
        return self._path(config).is_file()

    def read(self, config: Mapping[str, Any]) -> RunResult | None:
        """Return the result of this config, or None."""
        path = self._path(config)
        return _read(path) if path.is_file() else None

    def write(self, result: RunResult) -> Path:
        """Write a result; one of the same config is replaced.

        Raises:
          TrainingError: if the file cannot be written.
        """
        content = json.dumps({"format": FORMAT, **dataclasses.asdict(result)}, indent=2, ensure_ascii=False) + "\n"
        return write_atomically(self._path(result.config), content.encode("utf-8"), error_type=TrainingError)

    def _path(self, config: Mapping[str, Any]) -> Path:
        return self.directory / f"{digest(config)}.json"


def _read(path: Path) -> RunResult:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("format") != FORMAT:
            raise ValueError("of another format")
        return RunResult(**values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"A result must be a whole {FORMAT} file. Received: {path} ({error}). Remove it to repeat the run."
        ) from error


def _order(result: RunResult) -> tuple[Any, ...]:
    is_text = isinstance(result.x, str)
    number = math.inf if is_text or result.x is None else result.x
    text = result.x if is_text else ""
    return (result.experiment, result.arm, number, text, result.task, result.eval_task, result.seed, result.backbone)
