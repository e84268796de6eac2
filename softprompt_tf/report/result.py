"""What a report asks of a result: the fields that a run of an experiment has."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from softprompt_tf.errors import DataError
from softprompt_tf.report.experiments import EXPERIMENTS


class Result(Protocol):
    """One run's outcome on one task.

    Attributes:
      experiment: such as "methods" or "prompt_length".
      arm: what is compared, such as "prompt_tuning".
      x: the value that a sweep goes through, such as the prompt's length; None where there is none.
      task: what it was trained on.
      eval_task: what it was scored on; the same, or another for domain shift.
      seed: of the run.
      metrics: name -> value, as the task reports them.
      score: the task's one figure, 0 to 100.
      step: of the scored prompt or weights.
      seconds: the run took.
      backbone: the T5's name.
      config: the run's settings, JSON values.
    """

    @property
    def experiment(self) -> str: ...
    @property
    def arm(self) -> str: ...
    @property
    def x(self) -> Any: ...
    @property
    def task(self) -> str: ...
    @property
    def eval_task(self) -> str | None: ...
    @property
    def seed(self) -> int | None: ...
    @property
    def metrics(self) -> Mapping[str, float]: ...
    @property
    def score(self) -> float: ...
    @property
    def step(self) -> int | None: ...
    @property
    def seconds(self) -> float | None: ...
    @property
    def backbone(self) -> str: ...
    @property
    def config(self) -> Mapping[str, Any]: ...


def column_of(result: Result) -> str:
    """Return the name of a result's column: its task; "task → eval_task" where they differ, "task → FILE" for its other rows."""
    if result.eval_task in (None, "", result.task):
        other = _other_rows(result.config)
        return f"{result.task} → {other}" if other else result.task
    return f"{result.task} → {result.eval_task}"


def _other_rows(config: Mapping[str, Any]) -> str | None:
    """Return the file of rows that no task of a run has; None where a result is of the rows that its prompt was chosen by."""
    scored, run = config.get("eval_task"), config.get("run")
    if not isinstance(scored, Mapping) or not isinstance(run, Mapping) or scored in run.get("tasks", [scored]):
        return None
    return str(scored.get("validation") or scored.get("test") or "other rows")


def precisions_of(results: Sequence[Result]) -> dict[str, list[str]]:
    """Return backbone -> what its runs have computed in, float32 first; of runs whose settings have no precision, nothing."""
    found: dict[str, set[str]] = {}
    for result in results:
        for run in (result.config.get("run", {}), *result.config.get("runs", ())):
            training = run.get("training") if isinstance(run, Mapping) else None
            if isinstance(training, Mapping) and "precision" in training:
                found.setdefault(result.backbone, set()).add(str(training["precision"]))
    return {backbone: sorted(precisions, reverse=True) for backbone, precisions in found.items()}


def check_results(results: Sequence[Result]) -> None:
    """Refuse what no report can be made of.

    Raises:
      DataError: if there is no result, or a score is not a finite number from 0 to 100.
    """
    if not results:
        raise DataError("A report needs at least one result. Received: none.")
    for result in results:
        if not math.isfinite(result.score) or not 0 <= result.score <= 100:
            raise DataError(
                f"A result's `score` must be 0 to 100. Received: {result.score} "
                f"({result.experiment}, {result.arm}, {result.task}, seed {result.seed})."
            )


def by_experiment(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Return the results by experiment: those that are known first, in the paper's order, then the others as they come."""
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(result.experiment, []).append(result)
    known = {name: found[name] for name in EXPERIMENTS if name in found}
    return known | found
