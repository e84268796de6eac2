"""Checkpoints of a model in training, every few steps; a new process continues from the newest."""

import os
import time
from collections.abc import Mapping
from typing import Any

import keras

from softprompt_tf.errors import ConfigError
from softprompt_tf.training.best_prompt import KeepBestPrompt
from softprompt_tf.training.callbacks import Logs, is_due, is_finite, steps_done
from softprompt_tf.training.saved_run import STEP_FILE, Checkpoints, Groups, SavedRun


class PromptCheckpoint(keras.callbacks.Callback):
    """Save what is trained, the optimizer and the data position every few steps; goes after all other callbacks.

    Args:
      directory: folder of the checkpoints, one run's alone. None if nothing is kept.
      every_steps: int. Steps between two checkpoints. Default 100.
      seed: int. The run's seed; a run of another seed refuses the checkpoint.
      config_digest: str. The run's config in short; likewise. Default "".
      settings: Mapping or None. What decides the run's outcome, JSON values; likewise, with the names of what differs.
      keep_best: KeepBestPrompt or None. The callback whose state is saved along. Default None.
      name: str. Of each file. Without a step in it there is one file, which each checkpoint replaces.
      keep: int. How many checkpoints stay. Default 2.
      share: float. Of the time that passes, what is this run's: less than 1 where several train at once. Default 1.

    Attributes:
      seconds: float. What the run took up to its last checkpoint, those before a resume included.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None,
        *,
        seed: int,
        every_steps: int = 100,
        config_digest: str = "",
        settings: Mapping[str, Any] | None = None,
        keep_best: KeepBestPrompt | None = None,
        name: str = STEP_FILE,
        keep: int = 2,
        share: float = 1.0,
    ):
        super().__init__()
        if every_steps < 1:
            raise ConfigError(f"`every_steps` must be at least 1. Received: every_steps={every_steps}.")
        self._run = SavedRun(
            None if directory is None else Checkpoints(directory, name=name, keep=keep),
            lambda: _variables(self.model),
            seed=seed,
            config_digest=config_digest,
            settings=settings,
        )
        self._every_steps = every_steps
        self._keep_best = keep_best
        self._previous = 0
        self._saved_step: int | None = None
        self.seconds = 0.0
        self._share = share
        self._counted_until = time.monotonic()

    def resume(self, model: keras.Model) -> int:
        """Put the newest checkpoint's state into a compiled model and the callbacks; return how many batches the run has taken.

        Raises:
          TrainingError: if the checkpoint is of another run or another model.
        """
        self.set_model(model)
        checkpoint = self._run.resume()
        if checkpoint is not None:
            self.seconds, self._saved_step = checkpoint.counts.get("seconds", 0.0), checkpoint.step
            if self._keep_best is not None:
                self._keep_best.best = checkpoint.best
        self._counted_until = time.monotonic()
        return steps_done(model)

    def on_train_begin(self, logs: Logs = None) -> None:
        self._previous = steps_done(self.model)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        step = steps_done(self.model)
        if is_due(self._previous, step, self._every_steps):
            self.save()
        self._previous = step

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        # Not at the end of the training: by then the best prompt may stand where the newest one stood.
        self.save()

    def save(self) -> None:
        """Write a checkpoint of this moment, unless there is nothing to go on from.

        That is where this step has one, its search (`AutoPrompt`) was interrupted, or the step made values that are no numbers.
        """
        step = steps_done(self.model)
        if step == self._saved_step or getattr(self.model.optimizer, "owes_search", False):
            return
        if not is_finite(self.model):
            return
        now = time.monotonic()
        self.seconds += self._share * (now - self._counted_until)
        self._counted_until = now
        best = None if self._keep_best is None else self._keep_best.best
        self._run.save(step, best=best, counts={"seconds": self.seconds})
        self._saved_step = step


def _variables(model: keras.Model) -> Groups:
    random = [variable for variable in model.variables if variable.name == "seed_generator_state"]
    table = getattr(model, "prompt_table", None)  # not of a model whose own weights are trained
    return {
        "trainable": model.trainable_variables,
        "optimizer": model.optimizer.variables,
        "random": random,
        "frozen": [] if table is None else table.non_trainable_variables,
    }
