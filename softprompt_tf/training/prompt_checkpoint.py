"""A model in training enters; its checkpoints are written every few steps, and a new process goes on from the newest."""

import os
from collections.abc import Iterator

import keras
import numpy as np

from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.training.best_prompt import BestSoFar, KeepBestPrompt
from softprompt_tf.training.callbacks import Logs, is_due, steps_done
from softprompt_tf.training.checkpoint import Checkpoint, check_same_run, latest_checkpoint, write_checkpoint


class PromptCheckpoint(keras.callbacks.Callback):
    """Save the prompt, the optimizer and the data position every few steps; goes after all other callbacks.

    Args:
      directory: folder of the checkpoints, one run's alone.
      every_steps: int. Steps between two checkpoints. Default 100.
      seed: int. The run's seed; a run of another seed refuses the checkpoint.
      config_digest: str. The run's config in short; likewise. Default "".
      keep_best: KeepBestPrompt or None. The callback whose state is saved along. Default None.
      keep: int. How many checkpoints stay. Default 2.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        seed: int,
        every_steps: int = 100,
        config_digest: str = "",
        keep_best: KeepBestPrompt | None = None,
        keep: int = 2,
    ):
        super().__init__()
        if every_steps < 1:
            raise ConfigError(f"`every_steps` must be at least 1. Received: every_steps={every_steps}.")
        self._directory = directory
        self._every_steps = every_steps
        self._seed = seed
        self._config_digest = config_digest
        self._keep_best = keep_best
        self._keep = keep
        self._previous = 0
        self._saved_step: int | None = None

    def resume(self, model: keras.Model) -> int:
        """Put the newest checkpoint's state into the model and the callbacks.

        Args:
          model: compiled, with a built optimizer.

        Returns:
          How many batches the run has taken; 0 where there is no checkpoint.

        Raises:
          TrainingError: if the checkpoint is of another run or another model.
        """
        checkpoint = latest_checkpoint(self._directory)
        if checkpoint is None:
            return steps_done(model)
        check_same_run(checkpoint, seed=self._seed, config_digest=self._config_digest)
        _restore(model, checkpoint.tensors)
        if self._keep_best is not None:
            self._keep_best.best = checkpoint.best
        self._saved_step = checkpoint.step
        return checkpoint.step

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
        """Write a checkpoint of this moment, unless this step has one."""
        step = steps_done(self.model)
        if step == self._saved_step:
            return
        checkpoint = Checkpoint(
            step=step,
            seed=self._seed,
            config_digest=self._config_digest,
            tensors={name: np.array(variable.numpy()) for name, variable in _state(self.model)},
            best=BestSoFar() if self._keep_best is None else self._keep_best.best,
        )
        write_checkpoint(self._directory, checkpoint, keep=self._keep)
        self._saved_step = step


def _state(model: keras.Model) -> Iterator[tuple[str, keras.Variable]]:
    random = [variable for variable in model.variables if variable.name == "seed_generator_state"]
    groups = {"trainable": model.trainable_variables, "optimizer": model.optimizer.variables, "random": random}
    for group, variables in groups.items():
        for index, variable in enumerate(variables):
            yield f"{group}.{index}", variable


def _restore(model: keras.Model, tensors: dict[str, np.ndarray]) -> None:
    variables = dict(_state(model))
    expected = {name: tuple(variable.shape) for name, variable in variables.items()}
    received = {name: tuple(value.shape) for name, value in tensors.items()}
    if expected != received:
        raise TrainingError(
            f"A checkpoint must fit the model and its optimizer, which have {expected}. Received: {received}. "
            "Was the prompt's length or the optimizer changed?"
        )
    for name, variable in variables.items():
        variable.assign(tensors[name])
