"""One prompt of several that train at once: what trains, its data, its best values, its checkpoints."""

import contextlib
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from softprompt_tf.errors import NonFiniteLossError, SoftPromptError
from softprompt_tf.methods import TaskTable
from softprompt_tf.training.best_prompt import KeepBestPrompt
from softprompt_tf.training.callbacks import StopOnNonFiniteLoss, steps_done
from softprompt_tf.training.fit import Batches, TrainingResult
from softprompt_tf.training.prompt_checkpoint import PromptCheckpoint


class Candidate:
    """What trains of one prompt: its values and its optimizer. To callbacks it is the model.

    Args:
      table: of one task.
      optimizer: its own.
    """

    def __init__(self, table: TaskTable, optimizer: keras.optimizers.Optimizer):
        self.prompt_table = table  # as a model calls it
        self.optimizer = optimizer
        self.trainable_variables = table.trainable_variables
        self.variables = table.variables
        self.metrics: list[keras.Metric] = []
        self.stop_training = False
        optimizer.build(self.trainable_variables)

    def values(self) -> dict[str, Any]:
        """Return what is trained, by name, as it is now."""
        return {name: variable.numpy() for name, variable in self.prompt_table.variables_by_name.items()}


@dataclass
class Entry:
    """One prompt of `train_together`, with all that is its own.

    Args:
      candidate: what trains.
      batches: its training data; those of all entries have the same number of rows.
      keep_best: scores it, and keeps its best values.
      checkpoint: its state on the disk.
      steps: batches to take in all, those before a resume included.

    Attributes:
      error: why it ended early; None where it did not.
    """

    candidate: Candidate
    batches: Batches
    keep_best: KeepBestPrompt
    checkpoint: PromptCheckpoint
    steps: int
    error: SoftPromptError | None = None

    def __post_init__(self) -> None:
        self._callbacks: list[keras.callbacks.Callback] = [StopOnNonFiniteLoss(), self.keep_best, self.checkpoint]
        self._durations_s: list[float] = []
        self._first_step = 0
        self._is_stopped = False

    # === Its way through the training ===

    @property
    def is_done(self) -> bool:
        """Whether it takes no further step."""
        has_ended = self.error is not None or self._is_stopped
        return has_ended or steps_done(self.candidate) >= self.steps or self.keep_best.is_exhausted

    def begin(self) -> None:
        """Go on from its checkpoint, if it has one."""
        for callback in self._callbacks:
            callback.set_model(self.candidate)
        with self._kept_error():
            self.checkpoint.resume(self.candidate)
            self._first_step = steps_done(self.candidate)
            self.keep_best.catch_up()
            if self.is_done:
                self.keep_best.restore_best()
            for callback in self._callbacks:
                callback.on_train_begin()

    def after_step(self, loss: float, seconds: float) -> dict[str, Any]:
        """Do after a step what its callbacks do; return its logs."""
        self._durations_s.append(seconds)
        logs = {"loss": loss}
        with self._kept_error():
            for callback in self._callbacks:
                callback.on_train_batch_end(0, logs)
            if self.is_done:
                self._end()
        return logs

    def stop(self) -> None:
        """Take no further step, as if the last one had been the end."""
        if self.is_done:
            return
        self._is_stopped = True
        with self._kept_error():
            self._end()

    def save(self) -> None:
        """Write a checkpoint of this moment; not after an error, which leaves the best values in the place of the last ones."""
        if self.error is None:
            self.checkpoint.save()

    def _end(self) -> None:
        self.checkpoint.save()
        self.keep_best.on_train_end()

    @contextlib.contextmanager
    def _kept_error(self) -> Iterator[None]:
        """Keep an error as this entry's own, so that the others go on."""
        try:
            yield
        except SoftPromptError as error:
            self.error = error
            if isinstance(error, NonFiniteLossError):
                self.keep_best.restore_best()

    def result(self) -> TrainingResult:
        """Return how it went."""
        best, step = self.keep_best.best, steps_done(self.candidate)
        return TrainingResult(
            steps_done=step,
            best_step=best.step,
            best_score=best.score,
            history=best.history,
            seconds_per_step=statistics.median(self._durations_s) if self._durations_s else 0.0,
            stopped_early=step < self.steps,
            steps_taken=step - self._first_step,
            seconds=self.checkpoint.seconds,
        )
