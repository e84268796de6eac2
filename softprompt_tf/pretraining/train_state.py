"""Weights, optimizer and step of a training run, in and out of one file that is replaced in one move."""

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import safetensors
import safetensors.numpy

from softprompt_tf.errors import TrainingError
from softprompt_tf.files.atomic_file import write_atomically


def save_state(
    path: Path, backbone: keras.Model, optimizer: keras.optimizers.Optimizer, *, step: int, num_tokens: int
) -> None:
    """Write the state; the last one is replaced, or kept if this one cannot be written.

    Args:
      path: the file.
      backbone, optimizer: whose variables are written.
      step: steps taken.
      num_tokens: real tokens seen.

    Raises:
      TrainingError: if it cannot be written.
    """
    named = _named_variables(backbone, optimizer)
    # Not ascontiguousarray, which makes [1] of a scalar.
    arrays = {name: np.asarray(keras.ops.convert_to_numpy(variable), order="C") for name, variable in named}
    content = safetensors.numpy.save(arrays, metadata={"step": str(step), "num_tokens": str(num_tokens)})
    write_atomically(path, content, error_type=TrainingError)


def load_state(path: Path, backbone: keras.Model, optimizer: keras.optimizers.Optimizer) -> tuple[int, int]:
    """Set the variables to a saved state; return its step and the tokens seen.

    Raises:
      TrainingError: if the file is damaged or of a backbone of another shape.
    """
    try:
        with safetensors.safe_open(path, "np") as state:
            for name, variable in _named_variables(backbone, optimizer):
                variable.assign(state.get_tensor(name))
            metadata = state.metadata()
            return int(metadata["step"]), int(metadata.get("num_tokens", 0))
    except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise TrainingError(
            f"A run's state must be whole and of the run's own backbone. Received: {path} ({error}). "
            "Choose another directory to start a new run."
        ) from error


def _named_variables(
    backbone: keras.Model, optimizer: keras.optimizers.Optimizer
) -> Iterator[tuple[str, keras.Variable]]:
    for k, variable in enumerate(backbone.weights):
        yield f"weights/{k}", variable
    for k, variable in enumerate(optimizer.variables):
        yield f"optimizer/{k}", variable
