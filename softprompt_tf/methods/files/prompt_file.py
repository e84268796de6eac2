"""Write and read the prompt file of a task.

The file holds the task's tensors under their names, float32, such as `prompt` [P, H], and string metadata: `format`, then
the text fields of a `TaskPrompt` as they are and its other fields as JSON. It is written to a temporary name, synced and
renamed, so that nobody ever reads half of it, and nothing in it is ever executed.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from softprompt_tf.errors import PromptError, PromptFileError
from softprompt_tf.files.atomic_file import write_atomically
from softprompt_tf.files.local_paths import local_source
from softprompt_tf.files.portable_names import own_name, portable
from softprompt_tf.methods.files.adapter_config import read_adapter_config, refuse_file_of_adapter
from softprompt_tf.methods.files.adapterhub import fields_of, is_adapterhub, write_adapterhub_adapter
from softprompt_tf.methods.files.foreign_formats import (
    read_npy,
    read_peft_adapter,
    task_prompt_of,
    write_npy,
    write_peft_adapter,
)
from softprompt_tf.methods.files.task_prompt import STRING_FIELDS, TaskPrompt, check_backbone, json_fields
from softprompt_tf.methods.files.tensor_file import read_metadata, read_tensor, read_tensors
from softprompt_tf.methods.task_tensors import PROMPT
from softprompt_tf.version import __version__

__all__ = [
    "TaskPrompt",
    "check_backbone",
    "load_prompt",
    "write_adapterhub_adapter",
    "write_npy",
    "write_peft_adapter",
    "write_prompt",
]

FORMAT = "softprompt-tf/2"
_OLDER_FORMAT = "softprompt-tf/1"  # of the tensor `prompt` alone
JSON_FIELDS = json_fields()  # field -> the JSON types that it may have in a file


def write_prompt(path: str | Path, task_prompt: TaskPrompt) -> Path:
    """Write a prompt file, whole or not at all; `library_version` becomes this library's.

    Args:
      path: ends in .safetensors; a file that stands there is replaced.
      task_prompt: the prompt and what is known of it.

    Returns:
      The path.

    Raises:
      PromptFileError: if the name has another ending or the file cannot be written.
      PromptError: if a field holds what JSON cannot.
    """
    if Path(path).suffix != ".safetensors":
        raise PromptFileError(f"`path` must end in .safetensors. Received: {path}.")
    tensors = {name: np.ascontiguousarray(value) for name, value in task_prompt.tensors.items()}
    content = safetensors.numpy.save(tensors, metadata=_to_metadata(task_prompt))
    return write_atomically(path, _in_order(content), error_type=PromptFileError)


def load_prompt(path: str | Path) -> TaskPrompt:
    """Read a prompt: a .safetensors file of this library, a .npy [P, H], or the folder of a PEFT or AdapterHub adapter.

    Args:
      path: a folder is read as an adapter, a name that ends in .npy as an array, all else as a prompt file.

    Returns:
      The prompt; fields that a format does not have are empty.

    Raises:
      PromptFileError: if it is missing, damaged or of another format, or lacks a tensor of its method or has another one.

    Examples:
      >>> prompt = sp.load_prompt("film.safetensors")
      >>> prompt.task_id, prompt.method, prompt.labels
      ('film', 'prompt_tuning', ('negative', 'positive'))
    """
    path = local_source(path, error_type=PromptFileError)
    if path.is_dir():
        config = read_adapter_config(path)
        if is_adapterhub(config):
            return task_prompt_of(path, **fields_of(path, config))
        return read_peft_adapter(path)
    if path.suffix.lower() == ".npy":
        return read_npy(path)
    refuse_file_of_adapter(path)
    metadata = read_metadata(path)
    _check_format(path, metadata.get("format"))
    if metadata["format"] == _OLDER_FORMAT:
        tensors = {PROMPT: read_tensor(path, PROMPT, dtypes=("F32",))}
    else:
        tensors = read_tensors(path, dtypes=("F32",))
    return task_prompt_of(path, tensors=tensors, **_from_metadata(path, metadata))


def _in_order(content: bytes) -> bytes:
    """Return a safetensors file with its header sorted: safetensors writes metadata in another order each time."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)  # values begin at a multiple of 8
    return len(header).to_bytes(8, "little") + header + content[end:]


def _check_format(path: Path, tag: str | None) -> None:
    if tag in (FORMAT, _OLDER_FORMAT):
        return
    hint = "It is not a prompt file of this library."
    if tag and tag.startswith(FORMAT.partition("/")[0] + "/"):
        hint = "It was written by another version of this library; use that version."
    raise PromptFileError(f"Prompt file {path} must have the format {FORMAT!r}. Received: format={tag!r}. {hint}")


def _to_metadata(task_prompt: TaskPrompt) -> dict[str, str]:
    texts = {name: getattr(task_prompt, name) for name in STRING_FIELDS}
    values = {name: _to_json(name, getattr(task_prompt, name)) for name in JSON_FIELDS}
    values["training_config"] = _to_json("training_config", portable(task_prompt.training_config))
    texts["backbone"] = own_name(task_prompt.backbone)
    return {"format": FORMAT} | texts | values | {"library_version": __version__}


def _to_json(name: str, value: object) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError) as error:
        raise PromptError(f"`{name}` must hold JSON values only. Received: {error}.") from error


def _from_metadata(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    texts = {name: metadata[name] for name in STRING_FIELDS if name in metadata}
    values = {name: _from_json(path, name, metadata[name]) for name in JSON_FIELDS if name in metadata}
    return texts | values


def _from_json(path: Path, name: str, text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:  # the latter of what is nested too deep
        raise PromptFileError(f"Metadata `{name}` of prompt file {path} must be JSON. Received: {error}.") from error
    if not isinstance(value, JSON_FIELDS[name]):
        raise PromptFileError(f"Metadata `{name}` of prompt file {path} has the wrong type. Received: {name}={text}.")
    return value
