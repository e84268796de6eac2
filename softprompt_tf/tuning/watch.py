"""Watch a search: show how much of the budget is spent and on what, and keep the spent seconds on the disk now and then.

They are kept at the steps that have a checkpoint, so that a killed search loses both, and goes on as if it had not been killed.
"""

from collections.abc import Callable
from typing import Any

from softprompt_tf.progress import Progress
from softprompt_tf.training.callbacks import Logs, is_due, steps_done
from softprompt_tf.tuning.budget import Budget

KEEP_EVERY_S = 10.0  # about so long is lost where a search is killed


class Watch:
    """The report of `train_together` for a search; a bar or lines count the budget's seconds.

    Args:
      budget: of the search.
      keep: writes the spent seconds to the disk.

    Attributes:
      step_ends_s: spent seconds at the end of each step of the part that trains now.
    """

    def __init__(self, budget: Budget, keep: Callable[[], None]):
        self._budget, self._keep = budget, keep
        self._progress: Progress | None = None
        self._what, self._before, self._shown_s = "", 0, 0
        self._steps: int | None = None
        self._keep_every, self._previous = 1, 0
        self._model: Any = None
        self.step_ends_s: list[float] = []

    def __enter__(self) -> "Watch":
        self._shown_s = round(self._budget.spent_s)
        total = round(self._budget.total_s)
        self._progress = Progress(total, unit="second", first=self._shown_s, has_rate=False)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._progress is not None:
            self._progress.close()

    def stage(self, what: str, *, steps: int | None = None, before: int = 0, keep_every: int = 1) -> None:
        """Say what is being done from now on.

        Args:
          what: for people.
          steps: of how many steps it is, those before it included; None: that is not known yet.
          before: the steps before it.
          keep_every: steps between two checkpoints.
        """
        self._what, self._steps, self._before, self.step_ends_s = what, steps, before, []
        self._keep_every = keep_every
        self._show(what)

    def _show(self, what: str) -> None:
        if self._progress is None:
            return
        spent_s = round(self._budget.spent_s)
        self._progress.stage(what)
        self._progress.advance(spent_s - self._shown_s)
        self._shown_s = spent_s

    # === What `train_together` asks of a report ===

    def set_model(self, model: Any) -> None:
        self._model = model

    def on_train_begin(self, logs: Logs = None) -> None:
        self._previous = steps_done(self._model)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.step_ends_s.append(self._budget.spent_s)
        step = self._before + len(self.step_ends_s)
        of = "" if self._steps is None else f"/{self._steps}"
        self._show(f"{self._what}, step {step}{of}, loss {(logs or {}).get('loss', 0):.3g}")
        done = steps_done(self._model)
        if is_due(self._previous, done, self._keep_every):
            self._keep()
        self._previous = done

    def close(self) -> None:
        """The bar goes on over all parts."""
