"""What of a run outlives its process: its variables go into checkpoints, and a new process takes them from the newest one."""

import contextlib
import glob
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from softprompt_tf.errors import TrainingError
from softprompt_tf.shown_numbers import counted
from softprompt_tf.training.best_prompt import BestSoFar
from softprompt_tf.training.checkpoint import Checkpoint, check_same_run, read_checkpoint, write_checkpoint
from softprompt_tf.training.shared_checkpoint import shared_checkpoint

STEP_FILE = "step-{step}.safetensors"
_FROZEN = "frozen"
# "trainable", "optimizer" and, where there are any, "random" and "frozen"
Groups = Mapping[str, Sequence[keras.Variable]]


class Checkpoints:
    """The checkpoint files of one run.

    Args:
      directory: where they are.
      name: of each file; "{step}" stands for the step. A name without it is one file, which each checkpoint replaces: for
        runs that train all weights, where two would be too much.
      keep: how many stay.
    """

    def __init__(self, directory: str | os.PathLike[str], *, name: str = STEP_FILE, keep: int = 2):
        self._directory = Path(directory)
        self._name = name
        self._pattern = glob.escape(name).replace("{step}", "*")
        self._keep = keep

    def write(self, checkpoint: Checkpoint) -> Path:
        """Write one checkpoint and delete all but the newest; return its path.

        Raises:
          TrainingError: if the file cannot be written; no older one is deleted or changed then.
        """
        path = write_checkpoint(self._directory / self._name.replace("{step}", f"{checkpoint.step:08d}"), checkpoint)
        unfinished = self._directory.glob(f".{self._pattern}.*.tmp")  # of a process that was killed while it wrote
        for old in [*self._newest_first()[self._keep :], *unfinished]:
            old.unlink(missing_ok=True)
        return path

    def newest(self) -> Checkpoint | None:
        """Return the newest whole checkpoint, or None if there is none at all; warn of damaged ones that are passed over.

        Raises:
          TrainingError: if there are checkpoints but none can be read; to start again is for the user to decide.
        """
        paths = self._newest_first()
        for path in paths:
            try:
                return read_checkpoint(path)
            except TrainingError as error:
                if len(paths) == 1:
                    raise _refusal(path, str(error)) from error
                warnings.warn(f"Passing over a checkpoint: {error}", stacklevel=2)
        if paths:
            raise TrainingError(
                f"At least one checkpoint must be whole. Received: {self._directory} with {counted(len(paths), 'damaged one')}. "
                "Delete the folder to start anew."
            )
        return None

    def are_there(self) -> bool:
        """Return whether there is a checkpoint, be it damaged."""
        return bool(self._newest_first())

    def _newest_first(self) -> list[Path]:
        return sorted(self._directory.glob(self._pattern), reverse=True)


class SavedRun:
    """A run's variables in memory and its checkpoints on the disk.

    Args:
      checkpoints: the files, one run's alone. None if nothing is kept.
      variables: Callable. Returns the variables that a checkpoint holds, by group.
      seed: the run's seed; a checkpoint of another seed is refused.
      config_digest: the run's config in short; likewise.
      settings: what decides the run's outcome, JSON values; likewise, with the names of what differs.
    """

    def __init__(
        self,
        checkpoints: Checkpoints | None,
        variables: Callable[[], Groups],
        *,
        seed: int,
        config_digest: str = "",
        settings: Mapping[str, Any] | None = None,
    ):
        self._checkpoints = checkpoints
        self._variables = variables
        self._identity: dict[str, Any] = {"seed": seed, "config_digest": config_digest, "settings": settings or {}}

    def resume(self) -> Checkpoint | None:
        """Put the newest checkpoint's values into the variables and return it; None where there is none.

        Raises:
          TrainingError: if it is damaged, of another run or of another model.
        """
        checkpoint = shared_checkpoint(self._checkpoints.newest() if self._checkpoints else None)
        if checkpoint is None:
            return None
        check_same_run(checkpoint, **self._identity)
        variables = dict(_named(self._expected(checkpoint.tensors)))
        misfits = "; ".join(list(_misfits(variables, checkpoint.tensors))[:3])
        if misfits:
            why = f"it must fit the model and its optimizer, but {misfits}: was one of them, or the prompt's length, changed?"
            raise _refusal(checkpoint.path, why)
        for name, variable in variables.items():
            variable.assign(checkpoint.tensors[name])
        return checkpoint

    def _expected(self, tensors: Mapping[str, np.ndarray]) -> Groups:
        """Return the variables that a checkpoint must hold.

        Without frozen ones it is of prompts that trained at once, as earlier versions wrote it. Their values stay: they follow
        from the method and the seed.
        """
        groups = self._variables()
        if any(name.startswith(f"{_FROZEN}.") for name in tensors):
            return groups
        return {group: variables for group, variables in groups.items() if group != _FROZEN}

    def save(self, step: int, *, best: BestSoFar | None = None, counts: Mapping[str, Any] | None = None) -> None:
        """Write a checkpoint of this moment."""
        if self._checkpoints is None:
            return
        tensors = {name: variable.numpy() for name, variable in _named(self._variables())}
        best, counts = best or BestSoFar(), counts or {}
        self._checkpoints.write(Checkpoint(step=step, tensors=tensors, best=best, counts=counts, **self._identity))


def _named(groups: Groups) -> Iterator[tuple[str, keras.Variable]]:
    for group, variables in groups.items():
        for index, variable in enumerate(variables):
            yield f"{group}.{index}", variable


def _misfits(variables: Mapping[str, keras.Variable], tensors: Mapping[str, np.ndarray]) -> Iterator[str]:
    expected = {name: tuple(variable.shape) for name, variable in variables.items()}
    received = {name: tuple(value.shape) for name, value in tensors.items()}
    for name in sorted(expected | received):
        if expected.get(name) != received.get(name):
            yield f"`{name}` is {received.get(name, 'missing')} there and {expected.get(name, 'missing')} here"


def _refusal(path: Path | None, why: str) -> TrainingError:
    return TrainingError(
        f"A state must be whole and of the run's own backbone. Received: {path} ({why}). "
        "Remove it, or choose another directory, to start a new run."
    )


@contextlib.contextmanager
def saved_on_interrupt(save: Callable[[], object]) -> Iterator[None]:
    """Save a run's state where Ctrl-C ends the `with` block; the interrupt goes on."""
    try:
        yield
    except KeyboardInterrupt:
        save()
        raise
