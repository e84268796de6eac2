"""Show progress: a bar on a terminal, or plain lines in a log file."""

import sys
from typing import TextIO

import keras
import tqdm

from softprompt_tf.training.callbacks import Logs, MeanLogs, batch_weights, is_due, steps_done


def progress(
    *, last_step: int | None = None, every_steps: int = 50, stream: TextIO | None = None
) -> "ProgressBar | ProgressLines":
    """Return the callback that suits the stream: a bar on a terminal, else lines.

    Args:
      last_step: the step at which the training ends, if known.
      every_steps: steps between two lines; a bar moves with every step.
      stream: where to write. Default None, the standard error stream.
    """
    stream = sys.stderr if stream is None else stream
    if stream.isatty():
        return ProgressBar(last_step=last_step, stream=stream)
    return ProgressLines(last_step=last_step, every_steps=every_steps, stream=stream)


def tell_finished(step: int, last_step: int, *, stream: TextIO | None = None) -> None:
    """Say on the standard error stream that a run was finished before."""
    end = f"at step {step}" if step >= last_step else f"early, at step {step} of {last_step}"
    print(
        f"This run was finished before, {end}: nothing was trained. For more, raise `steps` or start a new run.",
        file=stream or sys.stderr,
        flush=True,
    )


class ProgressBar(keras.callbacks.Callback):
    """A tqdm bar with the loss and the newest dev scores."""

    def __init__(self, *, last_step: int | None, stream: TextIO):
        super().__init__()
        self._last_step = last_step
        self._stream = stream
        self._shown: dict[str, float] = {}
        self._bar: tqdm.tqdm | None = None

    def on_train_begin(self, logs: Logs = None) -> None:
        step = steps_done(self.model)
        self._bar = tqdm.tqdm(total=self._last_step, initial=step, file=self._stream, unit="step", dynamic_ncols=True)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if self._bar is None:
            return
        self._shown.update({name: value for name, value in (logs or {}).items() if _is_shown_in_bar(name)})
        self._bar.set_postfix({name: f"{value:.4g}" for name, value in self._shown.items()}, refresh=False)
        self._bar.update(steps_done(self.model) - self._bar.n)

    def on_train_end(self, logs: Logs = None) -> None:
        self.close()

    def close(self) -> None:
        """End the bar's line; also after an error, where Keras calls no `on_train_end`."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class ProgressLines(keras.callbacks.Callback):
    """One line every few steps, and at each evaluation: step, mean loss since the last line, seconds per step.

    Means are weighted as those that Keras reports; it goes behind `BatchLogs`.
    """

    def __init__(self, *, last_step: int | None, every_steps: int, stream: TextIO):
        super().__init__()
        self._of = "" if last_step is None else f"/{last_step}"
        self._every_steps = every_steps
        self._stream = stream
        self._means = MeanLogs()
        self._previous = 0

    def on_train_begin(self, logs: Logs = None) -> None:
        self._previous = steps_done(self.model)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self._means.add(logs, batch_weights(self.model))
        step = steps_done(self.model)
        if is_due(self._previous, step, self._every_steps) or "val_score" in (logs or {}):
            values = "  ".join(f"{name} {value:.4g}" for name, value in self._means.take().items())
            print(f"step {step}{self._of}  {values}", file=self._stream, flush=True)
        self._previous = step

    def close(self) -> None:
        """Nothing is left open."""


def _is_shown_in_bar(name: str) -> bool:
    return name != "seconds_per_step"
