"""The config of an adapter's folder, as PEFT and AdapterHub both call it."""

import json
from pathlib import Path
from typing import Any

from softprompt_tf.errors import PromptFileError
from softprompt_tf.files.large_file_pointer import refuse_pointer

ADAPTER_CONFIG = "adapter_config.json"
_MODEL_CONFIG = "config.json"
# Beside its config, the files of an adapter's folder, of PEFT and of AdapterHub.
_FILES = (
    ADAPTER_CONFIG,
    "adapter_model.safetensors",
    "adapter_model.bin",
    "adapter.safetensors",
    "pytorch_adapter.bin",
)
_SHOWN = 4  # names in a message


def is_of_adapters(path: Path) -> bool:
    """Say whether a path is the folder of an adapter, or of several in folders of their own, or a file of one."""
    if not path.is_dir():
        return path.name in _FILES
    return (path / ADAPTER_CONFIG).exists() or (not (path / _MODEL_CONFIG).exists() and bool(_adapters_in(path)))


def refuse_file_of_adapter(path: Path) -> None:
    """Refuse a file of an adapter's folder, which is read as a whole.

    Raises:
      PromptFileError: with the folder.
    """
    if path.name in _FILES and (path.parent / ADAPTER_CONFIG).is_file():
        raise PromptFileError(f"An adapter is read by its folder. Received: {path}. Did you mean `{path.parent}`?")


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """Return the config of an adapter's folder.

    Raises:
      PromptFileError: if there is none, or it is no JSON object.
    """
    path = folder / ADAPTER_CONFIG
    refuse_pointer(path, error_type=PromptFileError)
    try:
        config = json.loads(path.read_text(encoding="utf-8-sig"))  # some editors put a mark in front
    except FileNotFoundError as error:
        raise PromptFileError(
            f"A folder is read as a PEFT or AdapterHub adapter and must hold {ADAPTER_CONFIG}. Received: {folder}. "
            f"{_meant_instead(folder)}"
        ) from error
    except (ValueError, OSError, RecursionError) as error:
        raise PromptFileError(f"{path} must be a JSON file. Received: {error}.") from error
    if not isinstance(config, dict):
        raise PromptFileError(f"{path} must hold a JSON object. Received: {type(config).__name__}.")
    return config


def _meant_instead(folder: Path) -> str:
    """Return what somebody may have meant by a folder that is no adapter."""
    adapters = _adapters_in(folder)
    if adapters:
        names = " or ".join(f"`{adapter}`" for adapter in adapters[:_SHOWN])
        return f"It holds folders of adapters. Did you mean {names}?"
    if (folder / _MODEL_CONFIG).is_file():
        return "It holds a model and no prompt: a T5 is the backbone."
    files = sorted(folder.glob("*.safetensors"))
    return f"Did you mean `{files[0]}`?" if files else "Name the .safetensors file of a prompt."


def _adapters_in(folder: Path) -> list[Path]:
    return sorted(config.parent for config in folder.glob(f"*/{ADAPTER_CONFIG}"))
