"""The config of an adapter's folder, as PEFT and AdapterHub both call it."""

import json
from pathlib import Path
from typing import Any

from softprompt_tf.errors import PromptFileError
from softprompt_tf.files.large_file_pointer import refuse_pointer

ADAPTER_CONFIG = "adapter_config.json"


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
        files = sorted(folder.glob("*.safetensors"))
        hint = f"Did you mean `{files[0]}`?" if files else "Name the .safetensors file of a prompt."
        raise PromptFileError(
            f"A folder is read as a PEFT or AdapterHub adapter and must hold {ADAPTER_CONFIG}. Received: {folder}. {hint}"
        ) from error
    except (ValueError, OSError, RecursionError) as error:
        raise PromptFileError(f"{path} must be a JSON file. Received: {error}.") from error
    if not isinstance(config, dict):
        raise PromptFileError(f"{path} must hold a JSON object. Received: {type(config).__name__}.")
    return config
