"""The state of a run of model tuning enters, one safetensors file leaves, whole or not at all; and the way back.

It holds the weights, the optimizer's moments, the best weights so far and the evaluations.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
import safetensors
import safetensors.numpy

from softprompt_tf.errors import TrainingError
from softprompt_tf.files.atomic_file import write_atomically
from softprompt_tf.settings.setting_changes import setting_changes
from softprompt_tf.training import Evaluation

Groups = Mapping[str, Sequence[keras.Variable]]  # "weights" and "optimizer"


@dataclass
class TuningProgress:
    """What a state says beside its tensors."""

    step: int = 0
    best_step: int | None = None
    history: tuple[Evaluation, ...] = ()
    seconds_per_step: float = 0.0
    seconds: float = 0.0

    @property
    def best(self) -> Evaluation | None:
        """The best evaluation, None before the first."""
        return next((each for each in self.history if each.step == self.best_step), None)


def save_state(
    path: Path,
    groups: Groups,
    best: Sequence[np.ndarray],
    progress: TuningProgress,
    *,
    run_digest: str,
    run: Mapping[str, object],
) -> None:
    """Write a state, which replaces the last one in one move.

    `run` is what decides the run's outcome, JSON values; `load_state` compares it.

    Raises:
      TrainingError: if the file cannot be written.
    """
    tensors = {f"{name}/{k}": array for name, group in groups.items() for k, array in enumerate(arrays_of(group))}
    tensors |= {f"best/{k}": array for k, array in enumerate(best)}
    metadata = {"progress": json.dumps(asdict(progress)), "run_digest": run_digest, "run": json.dumps(run)}
    write_atomically(path, safetensors.numpy.save(tensors, metadata=metadata), error_type=TrainingError)


def load_state(
    path: Path, groups: Groups, *, run_digest: str, run: Mapping[str, object]
) -> tuple[TuningProgress, list[np.ndarray]]:
    """Put a state into the variables; return its progress and the best weights.

    Raises:
      TrainingError: if it is damaged, of another backbone or of another run.
    """
    try:
        with safetensors.safe_open(path, "np") as state:
            metadata = state.metadata()
            if metadata.get("run_digest", "") != run_digest:
                raise ValueError("of a run with other settings")
            changes = setting_changes(json.loads(metadata["run"]), run) if "run" in metadata else []
            if changes:
                raise ValueError(f"of a run with other settings or data: {'; '.join(changes)}")
            for name, variables in groups.items():
                for k, variable in enumerate(variables):
                    variable.assign(state.get_tensor(f"{name}/{k}").reshape(variable.shape))
            best = [state.get_tensor(f"best/{k}") for k in range(len(groups["weights"]))]
            progress = json.loads(metadata["progress"])
    except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise TrainingError(
            f"A state must be whole, of the same backbone and of the same run. Received: {path} ({error}). "
            "Remove it to start anew."
        ) from error
    history = tuple(Evaluation(**evaluation) for evaluation in progress.pop("history"))
    return TuningProgress(**progress, history=history), best


def arrays_of(variables: Sequence[keras.Variable]) -> list[np.ndarray]:
    """Return copies of the variables' values."""
    return [np.array(keras.ops.convert_to_numpy(variable), order="C") for variable in variables]
