"""Read the tensors of `pytorch_model.bin` where torch is installed; this library does not depend on torch."""

import importlib.util
import re
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from softprompt_tf.backbones.checkpoints.checkpoint import StoredTensor
from softprompt_tf.backbones.checkpoints.safetensors_weights import unreadable_dtype
from softprompt_tf.errors import BackboneError, first_line
from softprompt_tf.files.large_file_pointer import refuse_pointer

_SAFE_TORCH = (2, 10)


def open_torch_pickle(path: Path) -> dict[str, StoredTensor]:
    """Open a torch checkpoint, mapped and not read, with torch's loader that runs no code of the file's.

    Raises:
      BackboneError: if torch is not installed or too old, or the file is none of its own.
    """
    refuse_pointer(path, error_type=BackboneError)
    if importlib.util.find_spec("torch") is None:
        raise BackboneError(
            f"{path} can only be read where torch is installed. Received: no torch. Install it (pip install torch), or have "
            "transformers write the model as safetensors (save_pretrained)."
        )
    import torch

    _check_version(path, str(torch.__version__))
    try:
        # Files from before torch 1.6 are no zip archives; they cannot be mapped and are read as a whole.
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # torch raises whatever unpickling and zip reading raise
        # The first sentence: the next one advises to run the file's code.
        reason = first_line(error).split(". ")[0]
        raise BackboneError(f"{path} must be a torch checkpoint of tensors. Received: {reason[:200]}") from error
    if not isinstance(state, dict):
        raise BackboneError(f"{path} must be a torch checkpoint of tensors. Received: {type(state).__name__}.")
    nested = [str(name) for name, value in state.items() if isinstance(value, dict | list | tuple) and len(value)]
    if nested:
        raise BackboneError(
            f"{path} must hold the weights of one model by their names. Received: more of them inside {', '.join(nested[:6])}. "
            "Save the model's `state_dict()` alone."
        )
    # Without their gradients: a file of `named_parameters()` holds parameters.
    tensors = {name: value.detach() for name, value in state.items() if isinstance(value, torch.Tensor)}
    for name, value in tensors.items():
        if value.dtype not in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
            raise unreadable_dtype(path, name, str(value.dtype).removeprefix("torch."))
        if value.layout != torch.strided:
            raise BackboneError(f"Weight {name} of {path} must be a dense tensor. Received: {value.layout}.")
    return {name: StoredTensor(name, tuple(value.shape), partial(_to_numpy, value)) for name, value in tensors.items()}


def _check_version(path: Path, version: str) -> None:
    """Refuse releases of torch in which a file could run code in spite of `weights_only=True`."""
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is None or (int(found[1]), int(found[2])) < _SAFE_TORCH:
        wanted = ".".join(map(str, _SAFE_TORCH))
        raise BackboneError(
            f"{path} is read with torch {wanted} or newer: in earlier releases a file can run code (CVE-2025-32434, "
            f"CVE-2026-24747). Received: torch {version}. Update it, or have transformers write the model as safetensors."
        )


def _to_numpy(tensor: Any, rows: slice) -> np.ndarray:
    import torch

    tensor = tensor[rows]
    if tensor.dtype == torch.bfloat16:  # NumPy has no bfloat16 of its own
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return np.asarray(tensor.numpy())
