"""What a report asks of a result: the fields that a run of an experiment has."""

from collections.abc import Mapping
from typing import Any, Protocol


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
    """Return the name of a result's column: its task, or "task → eval_task" where they differ."""
    if result.eval_task in (None, "", result.task):
        return result.task
    return f"{result.task} → {result.eval_task}"
