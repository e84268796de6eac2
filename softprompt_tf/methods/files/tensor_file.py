"""Read a safetensors file: its arrays and its metadata."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from softprompt_tf.errors import PromptFileError
from softprompt_tf.files.large_file_pointer import refuse_pointer


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file, empty where it has none.

    Raises:
      PromptFileError: if the file is missing, cut short or no safetensors file.
    """
    refuse_pointer(path, error_type=PromptFileError)
    try:
        with safe_open(path, framework="np") as file:
            return file.metadata() or {}
    except FileNotFoundError as error:
        raise PromptFileError(f"Prompt file must exist. Received: {path}.") from error
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error


def read_tensor(path: Path, name: str, *, dtypes: Sequence[str]) -> np.ndarray:
    """Return the one tensor of a safetensors file.

    Args:
      path: the file.
      name: the tensor's name.
      dtypes: those that are accepted, in safetensors' names such as "F32".

    Raises:
      PromptFileError: if the file is missing or damaged, has no such tensor of such a dtype, or has others too.
    """
    read_metadata(path)
    try:
        with safe_open(path, framework="np") as file:
            names = list(file.keys())
            if name not in names:
                raise PromptFileError(f"Prompt file {path} must hold the tensor `{name}`. Received: tensors {names}.")
            others = sorted(set(names) - {name})
            if others:
                raise PromptFileError(
                    f"Prompt file {path} must hold the tensor `{name}` and no other. Received: also {', '.join(others[:6])}. "
                    "They would have no effect. Train the prompt without them, or put them into the backbone's checkpoint."
                )
            return _tensor(file, path, name, dtypes)
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error


def read_tensors(path: Path, *, dtypes: Sequence[str]) -> dict[str, np.ndarray]:
    """Return all tensors of a safetensors file by name.

    Raises:
      PromptFileError: if the file is missing or damaged, or a tensor has another dtype.
    """
    read_metadata(path)
    try:
        with safe_open(path, framework="np") as file:
            return {name: _tensor(file, path, name, dtypes) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error


def _tensor(file: Any, path: Path, name: str, dtypes: Sequence[str]) -> np.ndarray:
    dtype = file.get_slice(name).get_dtype()
    if dtype not in dtypes:
        raise PromptFileError(
            f"Tensor `{name}` of prompt file {path} must have the dtype {' or '.join(dtypes)}. Received: dtype {dtype}."
        )
    return np.asarray(file.get_tensor(name))


def _unreadable(path: Path, error: Exception) -> PromptFileError:
    return PromptFileError(
        f"Prompt file {path} must be a whole safetensors file. Received: {error}. "
        "It may be cut short; pickle files (.bin, .pt) are never read."
    )
