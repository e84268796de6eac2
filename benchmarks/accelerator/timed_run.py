"""A pretraining run that ends at a given moment: its steps are planned from the speed that it turns out to have."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol

_PLAN_EVERY = 128  # steps
_MARGIN = 0.97  # of the time that is left
_CHECKPOINT_S = 60
NO_END = 10**9


class Trainer(Protocol):
    """A trainer whose settings may change as it goes on."""

    run: Any


class TimedBatches:
    """Batches that end with their trainer's last step, which is planned anew until the rate begins to fall.

    Args:
      source: where the batches come from.
      trainer: its `run.steps`, `run.cooldown_steps` and `run.checkpoint_every` are set.
      deadline: when the last step should be done, as `clock` counts.
      cooldown: the share of all steps in which the rate falls to 0.
      clock: seconds.
    """

    def __init__(
        self,
        source: Any,
        trainer: Trainer,
        *,
        deadline: float,
        cooldown: float = 0.4,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._source = source
        self._trainer = trainer
        self._deadline = deadline
        self._cooldown = cooldown
        self._clock = clock

    def prefetch(self, first_step: int, last_step: int) -> Iterator[tuple[int, str, Any]]:
        """Yield `(step, objective, batch)` from the first step to the planned last one."""
        begun = None
        for step, objective, batch in self._source.prefetch(first_step, NO_END):
            if step == first_step + _PLAN_EVERY:
                begun = (self._clock(), step)  # what comes before has the start of everything in it
            elif begun and step % _PLAN_EVERY == 0:
                self._plan(step, (step - begun[1]) / (self._clock() - begun[0]))
            if step >= self._trainer.run.steps:
                return
            yield step, objective, batch

    def _plan(self, step: int, steps_per_s: float) -> None:
        run = self._trainer.run
        if step >= run.steps - run.cooldown_steps:
            return  # the rate is falling: the end stands
        steps = step + max(1, int((self._deadline - self._clock()) * _MARGIN * steps_per_s))
        self._trainer.run = replace(
            run,
            steps=steps,
            cooldown_steps=max(1, int(self._cooldown * steps)),
            checkpoint_every=max(1, int(_CHECKPOINT_S * steps_per_s)),
        )
