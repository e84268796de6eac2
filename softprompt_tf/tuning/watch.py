"""Watch a search: show how much of the budget is spent and on what, and keep the spent seconds on the disk now and then."""

from collections.abc import Callable
from typing import Any

from softprompt_tf.progress import Progress
from softprompt_tf.training.callbacks import Logs
from softprompt_tf.tuning.budget import Budget

KEEP_EVERY_S = 10.0


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
        self._kept_s = budget.spent_s
        self._progress: Progress | None = None
        self._what, self._steps, self._shown_s = "", 0, 0
        self.step_ends_s: list[float] = []

    def __enter__(self) -> "Watch":
        self._shown_s = round(self._budget.spent_s)
        total = round(self._budget.total_s)
        self._progress = Progress(total, unit="second", first=self._shown_s, has_rate=False)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._progress is not None:
            self._progress.close()

    def stage(self, what: str, *, steps: int = 0) -> None:
        """Say what is being done from now on, and of how many steps it is."""
        self._what, self._steps, self.step_ends_s = what, steps, []
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
        """Nothing is asked of the model."""

    def on_train_begin(self, logs: Logs = None) -> None:
        """The stage was said before."""

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        spent_s = self._budget.spent_s
        self.step_ends_s.append(spent_s)
        self._show(f"{self._what}, step {len(self.step_ends_s)}/{self._steps}, loss {(logs or {}).get('loss', 0):.3g}")
        if spent_s - self._kept_s >= KEEP_EVERY_S:
            self._kept_s = spent_s
            self._keep()

    def close(self) -> None:
        """The bar goes on over all parts."""
