"""Where the files of a run are: what is carried to the machine, and the models that are written there."""

import os
import tempfile
import time
from pathlib import Path

from benchmarks.speed import inputs
from benchmarks.speed.protocol import ROOT

CARRIED = Path(os.environ.get("ACCELERATOR_CARRIED", ROOT / ".carried"))
WHEELS = CARRIED / "wheels"
REFERENCE = CARRIED / "reference.npz"
MODELS = Path(os.environ.get("ACCELERATOR_MODELS", Path(tempfile.gettempdir()) / "softprompt_accelerator_models"))


def model_directory(shape: str) -> Path:
    """Return where the model of a shape with drawn weights is, or will be."""
    return MODELS / shape


def wait_for_model(shape: str, seconds: float = 120.0) -> Path:
    """Return the directory of a model that another process is writing, once it is complete.

    Raises:
      TimeoutError: if it is not complete after `seconds`.
    """
    directory, end = model_directory(shape), time.monotonic() + seconds
    while not (directory / "config.json").is_file():  # it is written last
        if time.monotonic() > end:
            raise TimeoutError(f"The model must be written within {seconds:.0f} s. Received: nothing in {directory}.")
        time.sleep(0.2)
    return directory


def written_model(shape: str) -> Path:
    """Return the directory of a model, and write it first if it is not there."""
    directory = model_directory(shape)
    inputs.write_model(directory, inputs.SHAPES[shape])
    return directory
