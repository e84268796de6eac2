"""Open the safetensors files of a Hugging Face T5."""

from functools import partial
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from softprompt_tf.backbones.checkpoints.checkpoint import StoredTensor
from softprompt_tf.errors import BackboneError
from softprompt_tf.files.large_file_pointer import refuse_pointer

_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}


def open_safetensors(path: Path) -> dict[str, StoredTensor]:
    """Return the tensors of a safetensors file by name, not read yet.

    Raises:
      BackboneError: if the file is damaged, or a tensor holds integers or floats of 8 bits.
    """
    refuse_pointer(path, error_type=BackboneError)
    try:
        with safe_open(path, framework="np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
            dtypes = {name: str(part.get_dtype()) for name, part in slices.items()}
    except (SafetensorError, OSError) as error:
        raise BackboneError(f"{path} must be a whole safetensors file. Received: {error}.") from error
    for name, dtype in dtypes.items():
        if dtype not in _DTYPES:
            raise unreadable_dtype(path, name, dtype)
    return {name: StoredTensor(name, shape, partial(_read, path, name)) for name, shape in shapes.items()}


def unreadable_dtype(path: Path, name: str, dtype: str) -> BackboneError:
    """Return the error of a weight that means nothing without its scales."""
    return BackboneError(
        f"Weight {name} of {path} cannot be read: its dtype must be one of {', '.join(_DTYPES.values())}, and is {dtype}. "
        "Load a T5 that is not quantized: `load_t5` quantizes it where `quantization` says so."
    )


def _read(path: Path, name: str, rows: slice) -> np.ndarray:
    # Opened for each block: a file that stays open stays mapped, and its pages would count as this process's memory.
    with safe_open(path, framework="np") as file:
        return np.asarray(file.get_slice(name)[rows])
