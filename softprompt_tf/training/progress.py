"""Show progress: a bar on a terminal, or plain lines in a log file."""

import sys
import time
from typing import TextIO

import keras

from softprompt_tf.progress import Progress, is_terminal, say, time_left
from softprompt_tf.training.callbacks import Logs, MeanLogs, batch_weights, is_due, steps_done

_LINE_AT_LEAST_EVERY_S = 60.0


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
    if is_terminal(stream):
        return ProgressBar(last_step=last_step, stream=stream)
    return ProgressLines(last_step=last_step, every_steps=every_steps, stream=stream)


def tell_finished(step: int, last_step: int, *, stream: TextIO | None = None) -> None:
    """Say on the standard error stream that a run was finished before."""
    end = f"at step {step}" if step >= last_step else f"early, at step {step} of {last_step}"
    say(
        f"This run was finished before, {end}: nothing was trained. For more, raise `steps` or start a new run.",
        stream=stream,
    )


def tell_resumed(step: int, last_step: int, *, stream: TextIO | None = None) -> None:
    """Say on the standard error stream where a run continues."""
    say(f"Continues after step {step} of {last_step}.", stream=stream)


def tell_stopped(step: int, last_step: int, *, stream: TextIO | None = None) -> None:
    """Say on the standard error stream that a run was stopped, and how it goes on."""
    say(f"Stopped and saved after step {step} of {last_step}. Start it again to continue there.", stream=stream)


class ProgressBar(keras.callbacks.Callback):
    """A bar with the steps, their rate, the time left, the loss and the newest dev scores."""

    def __init__(self, *, last_step: int | None, stream: TextIO):
        super().__init__()
        self._last_step = last_step
        self._stream = stream
        self._bar: Progress | None = None

    def on_train_begin(self, logs: Logs = None) -> None:
        step = steps_done(self.model)
        self._bar = Progress(self._last_step, unit="step", first=step, stream=self._stream)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if self._bar is None:
            return
        shown = {name: value for name, value in (logs or {}).items() if name != "seconds_per_step"}
        self._bar.advance(steps_done(self.model) - self._bar.done, **shown)

    def on_train_end(self, logs: Logs = None) -> None:
        self.close()

    def close(self) -> None:
        """End the bar's line; also after an error, where Keras calls no `on_train_end`."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class ProgressLines(keras.callbacks.Callback):
    """A line every few steps, every minute and at each evaluation: step, mean loss since the last line, time left.

    Means are weighted as those that Keras reports; it goes behind `BatchLogs`.
    """

    def __init__(self, *, last_step: int | None, every_steps: int, stream: TextIO):
        super().__init__()
        self._last_step = last_step
        self._every_steps = every_steps
        self._stream = stream
        self._means = MeanLogs()
        self._previous = 0
        self._first: tuple[int, float] | None = None  # the first step's number, and when it was done
        self._last_line = 0.0

    def on_train_begin(self, logs: Logs = None) -> None:
        self._previous = steps_done(self.model)
        self._first, self._last_line = None, time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self._means.add(logs, batch_weights(self.model))
        step = steps_done(self.model)
        self._first = self._first or (
            step,
            time.monotonic(),
        )  # it also traces the graph, so the time left leaves it out
        is_late = time.monotonic() - self._last_line >= _LINE_AT_LEAST_EVERY_S
        if is_late or is_due(self._previous, step, self._every_steps) or "val_score" in (logs or {}):
            self._write_line(step)
        self._previous = step

    def _write_line(self, step: int) -> None:
        self._last_line = time.monotonic()
        of = "" if self._last_step is None else f"/{self._last_step}"
        words = [f"step {step}{of}", *(f"{name} {value:.4g}" for name, value in self._means.take().items())]
        if self._last_step is not None and self._first is not None:
            first, done_at = self._first
            left = time_left(step, self._last_step, first=first, seconds=self._last_line - done_at)
            words.append(f"{left} left")
        say("  ".join(words), stream=self._stream)

    def close(self) -> None:
        """Nothing is left open."""
