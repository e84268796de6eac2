"""Read and write prompts of other tools: a .npy file [P, H] or a PEFT adapter folder.

`.npy` is what google-research/prompt-tuning publishes; a PEFT adapter folder (huggingface/peft) holds
`adapter_config.json` and `adapter_model.safetensors` with the tensor `prompt_embeddings`, a prompt's rows or a prefix (see
`peft_prefix.py`); or with tensors of modules (see `peft_modules.py`). Neither has a fingerprint, so only sizes can be checked
against a backbone.
"""

import io
import json
from pathlib import Path
from typing import Any, TypeGuard

import ml_dtypes
import numpy as np
import safetensors.numpy

from softprompt_tf.errors import PromptError, PromptFileError
from softprompt_tf.files.atomic_file import write_atomically, write_together
from softprompt_tf.files.large_file_pointer import refuse_pointer
from softprompt_tf.files.npy_errors import NPY_ERRORS
from softprompt_tf.files.portable_names import own_name
from softprompt_tf.methods.files import peft_ia3, peft_lora, peft_prefix
from softprompt_tf.methods.files.adapter_config import ADAPTER_CONFIG, read_adapter_config
from softprompt_tf.methods.files.peft_kind import PEFT_TASK, PEFT_TYPES, check_peft_kind
from softprompt_tf.methods.files.task_prompt import TaskPrompt
from softprompt_tf.methods.files.tensor_file import read_tensor, read_tensors
from softprompt_tf.methods.task_tensors import DECODER_PAST_KEY_VALUES, DELTAS, KEY_VALUES, PROMPT, SCALES

PEFT_WEIGHTS = "adapter_model.safetensors"
PEFT_TENSOR = "prompt_embeddings"
_DTYPES = ("F32", "F16", "BF16", "F64")
NPY_MAGIC = b"\x93NUMPY"


def read_npy(path: str | Path) -> TaskPrompt:
    """Read a prompt [P, H] from a .npy file of any floating dtype; the task id is the file's stem.

    Raises:
      PromptFileError: if the file is missing, cut short, pickled or holds no prompt.
    """
    path = Path(path)
    refuse_pointer(path, error_type=PromptFileError)
    try:
        with open(path, "rb") as file:
            if file.read(len(NPY_MAGIC)) != NPY_MAGIC:
                raise ValueError("the first bytes are not those of a .npy file")
        # A memory map compares the header's shape with the file's size before anything is allocated.
        array = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError as error:
        raise PromptFileError(f"Prompt file must exist. Received: {path}.") from error
    except NPY_ERRORS as error:
        # Some messages have several lines, and one has none.
        reason = " ".join((str(error) or type(error).__name__).split())
        raise PromptFileError(f"Prompt file {path} must be a whole .npy file. Received: {reason}.") from error
    if array.dtype.kind == "V" and array.dtype.itemsize == 2 and array.dtype.names is None:
        array = array.view(ml_dtypes.bfloat16)  # NumPy has no name for bfloat16 and writes "two bytes"
    return task_prompt_of(path, prompt=array, task_id=path.stem)


def write_npy(path: str | Path, task_prompt: TaskPrompt) -> Path:
    """Write the bare prompt [P, H], float32, as a .npy file; all else that is known of it is lost.

    Raises:
      PromptFileError: if the name does not end in .npy, the task has other tensors too, or the file cannot be written.
      PromptError: if the task has no prompt.
    """
    if Path(path).suffix != ".npy":
        raise PromptFileError(f"`path` must end in .npy. Received: {path}.")
    content = io.BytesIO()
    np.save(content, _prompt_alone(task_prompt), allow_pickle=False)
    return write_atomically(path, content.getvalue(), error_type=PromptFileError)


def read_peft_adapter(path: str | Path) -> TaskPrompt:
    """Read an adapter of PEFT's prompt tuning, P-tuning, prefix tuning, LoRA or (IA)^3; the task id is the folder's name.

    For a sequence-to-sequence model PEFT keeps `num_transformer_submodules` times `num_virtual_tokens` rows, two times
    by default, and puts only the first `num_virtual_tokens` in front of the encoder's input: those are read. A prefix becomes
    keys and values of the decoder's self-attention. A LoRA's scale becomes part of its matrices.

    Raises:
      PromptFileError: if the folder lacks a file, is an adapter of another kind or for another kind of model, or holds more
        than this library has.
    """
    path = Path(path)
    config = read_adapter_config(path)
    check_peft_kind(path, config)
    if not (path / PEFT_WEIGHTS).exists():
        raise PromptFileError(
            f"PEFT adapter {path} must hold {PEFT_WEIGHTS}. Received: {sorted(item.name for item in path.iterdir())}. "
            "Pickle files (.bin) are never read: save the adapter with safe_serialization=True."
        )
    known = {"task_id": path.resolve().name, "backbone": str(config.get("base_model_name_or_path") or "")}
    known["method"] = PEFT_TYPES[config["peft_type"]]
    return task_prompt_of(path, **_peft_fields(path, config), **known)


def _peft_fields(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a task that an adapter's tensors give."""
    if config["peft_type"] == peft_lora.LORA_TYPE:
        return peft_lora.deltas_of(path, config, read_tensors(path / PEFT_WEIGHTS, dtypes=_DTYPES))
    if config["peft_type"] == peft_ia3.IA3_TYPE:
        return {"tensors": peft_ia3.scales_of(path, config, read_tensors(path / PEFT_WEIGHTS, dtypes=_DTYPES))}
    rows = read_tensor(path / PEFT_WEIGHTS, PEFT_TENSOR, dtypes=_DTYPES)
    if config["peft_type"] == peft_prefix.PREFIX_TYPE:
        return {"tensors": {DECODER_PAST_KEY_VALUES: peft_prefix.key_values_of(path, config, rows)}}
    return {"prompt": rows[: _checked_length(path, config, rows)]}


def _checked_length(path: Path, config: dict[str, Any], rows: np.ndarray) -> int:
    """Return P; the file's rows must be as many as the config says."""
    length, submodules, width = (
        config.get(key) for key in ("num_virtual_tokens", "num_transformer_submodules", "token_dim")
    )
    known = [submodules] if _is_count(submodules) else [1, 2]
    if not _is_count(length) or rows.ndim != 2 or len(rows) not in [length * factor for factor in known]:
        wanted = "num_virtual_tokens times num_transformer_submodules"
        raise PromptFileError(
            f"PEFT adapter {path} must hold {wanted} rows [P, H]. Received: num_virtual_tokens={length}, "
            f"num_transformer_submodules={submodules}, tensor {list(rows.shape)}."
        )
    if width not in (None, rows.shape[1]):
        raise PromptFileError(
            f"PEFT adapter {path} must hold rows of the width that its config says. Received: token_dim={width}, tensor "
            f"{list(rows.shape)}."
        )
    return length


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def write_peft_adapter(
    path: str | Path,
    task_prompt: TaskPrompt,
    *,
    num_attention_heads: int | None = None,
    num_layers: int | None = None,
    hidden_dim: int | None = None,
) -> Path:
    """Write a task as a PEFT adapter folder for a sequence-to-sequence model: a prompt, a prefix of the decoder, LoRA or (IA)^3.

    Args:
      path: the folder; made where it is missing.
      task_prompt: its backbone's name becomes `base_model_name_or_path`.
      num_attention_heads: N of the backbone; PEFT keeps it but prompt tuning does not use it.
      num_layers: L of the backbone; the same holds.
      hidden_dim: H of the backbone, for a LoRA whose task file does not have it.

    Raises:
      PromptFileError: if a file cannot be written, or PEFT cannot hold the task's tensors.
    """
    path = Path(path)
    config: dict[str, Any] = {
        "base_model_name_or_path": own_name(task_prompt.backbone) or None,
        "inference_mode": True,
        "revision": None,
        "task_type": PEFT_TASK,
    }
    if PROMPT in task_prompt.tensors:
        tensors = {PEFT_TENSOR: _prompt_alone(task_prompt)}
        config |= _prompt_config(task_prompt, num_attention_heads, num_layers)
    elif set(task_prompt.tensors) <= set(DELTAS):
        tensors, own = peft_lora.tensors_of(path, task_prompt, hidden_dim)
        config |= own
    elif set(task_prompt.tensors) <= set(SCALES):
        tensors, own = peft_ia3.tensors_of(task_prompt)
        config |= own
    elif not set(task_prompt.tensors) <= set(KEY_VALUES):
        names = ", ".join(task_prompt.tensors)
        raise PromptFileError(f"PEFT has no place for these tensors. Received: {names}. Write a .safetensors file.")
    else:
        tensors = {PEFT_TENSOR: np.ascontiguousarray(peft_prefix.rows_of(task_prompt))}
        config |= peft_prefix.config_of(task_prompt)
    weights = safetensors.numpy.save(tensors, metadata={"format": "pt"})
    config_text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    files = {path / PEFT_WEIGHTS: weights, path / ADAPTER_CONFIG: config_text.encode()}
    write_together(files, error_type=PromptFileError)
    return path


def _prompt_alone(task_prompt: TaskPrompt) -> np.ndarray:
    """Return a task's prompt; without its other tensors it would answer otherwise, so a task that has such is refused."""
    others = [name for name in task_prompt.tensors if name != PROMPT]
    prompt = task_prompt.prompt
    if others == list(task_prompt.tensors):
        raise PromptFileError(
            f"This format holds a prompt in front of the text alone. Received: {', '.join(others)}. Write a .safetensors file."
        )
    if others:
        raise PromptFileError(
            f"This format holds a prompt alone. Received: a task with {', '.join(others)} too. Write a .safetensors file."
        )
    return prompt


def _prompt_config(task_prompt: TaskPrompt, num_attention_heads: int | None, num_layers: int | None) -> dict[str, Any]:
    return {
        "num_attention_heads": num_attention_heads,
        "num_layers": num_layers,
        "num_transformer_submodules": 1,  # the encoder alone; PEFT would otherwise expect as many unused rows again
        "num_virtual_tokens": task_prompt.length,
        "peft_type": "PROMPT_TUNING",
        "prompt_tuning_init": "RANDOM",
        "prompt_tuning_init_text": None,
        "token_dim": task_prompt.hidden_dim,
        "tokenizer_name_or_path": None,
    }


def task_prompt_of(path: Path, **fields: Any) -> TaskPrompt:
    """Return the `TaskPrompt` of a file's fields; what is wrong with them is said with the file's name.

    Raises:
      PromptFileError: if the prompt is no finite [P, H], or a field has the wrong type.
    """
    try:
        return TaskPrompt(**fields)
    except PromptError as error:
        raise PromptFileError(f"{error} File: {path}.") from error
