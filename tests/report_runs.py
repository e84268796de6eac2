"""A result as reports read it, for their tests."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Run:
    """The fields that a report reads."""

    score: float
    seed: int = 1
    experiment: str = "methods"
    arm: str = "prompt_tuning"
    x: Any = None
    task: str = "sst2"
    eval_task: str | None = None
    metrics: dict = dataclasses.field(default_factory=lambda: {"accuracy": 0.5})
    step: int | None = 100
    seconds: float | None = 12.0
    backbone: str = "mini"
    config: dict = dataclasses.field(default_factory=lambda: {"seed": 1})
