"""Convert the rows of a PEFT prefix adapter to keys and values of the decoder's self-attention, and back.

PEFT keeps P rows, each L pairs of keys and values [N, D]. For an encoder-decoder it lays the pairs behind themselves, gives two of
them in turn to each layer of the decoder, and throws the second away: so layer i has pair 2i mod L. With an even L, layers
i and i + L / 2 share a pair, and every second pair has no effect. With an odd L, each layer has a pair of its own. So a prefix
whose layers differ is written for one layer more, with zeros; the decoder has no such layer, and PEFT passes over it.

Nothing reaches the encoder or the cross-attention. The keys stand in front of the target's, and T5's bias of positions lies on
them.

Source: huggingface/peft:src/peft/peft_model.py (`get_prompt`), 0.21.2.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from softprompt_tf.errors import PromptFileError
from softprompt_tf.methods.files.task_prompt import TaskPrompt
from softprompt_tf.methods.task_tensors import DECODER_PAST_KEY_VALUES

PREFIX_TYPE = "PREFIX_TUNING"
METHOD = "prefix_tuning"
_SIZES = ("num_virtual_tokens", "num_layers", "num_attention_heads", "token_dim")
_SUBMODULES = 2  # encoder and decoder; transformers cannot run a prefix adapter of one


def key_values_of(path: Path, config: Mapping[str, Any], rows: np.ndarray) -> np.ndarray:
    """Return keys and values of the decoder's self-attention.

    An adapter that was trained with `prefix_projection` holds what the projection gave, and is read as any other.

    Args:
      path: the adapter's folder, for messages.
      config: its config.
      rows: [P, L * 2 * N * D], its tensor.

    Returns:
      [P, L, 2, N, D], of the dtype of `rows`; L is one less than in the config where `rows_of` added a layer.

    Raises:
      PromptFileError: if config and rows do not fit, or the adapter is not for an encoder-decoder.
    """
    submodules = config.get("num_transformer_submodules")
    if submodules not in (None, _SUBMODULES):
        raise PromptFileError(
            f"PEFT prefix adapter {path} must be for encoder and decoder. Received: num_transformer_submodules={submodules}, "
            "with which a T5 does not run in PEFT either."
        )
    sizes = {name: config.get(name) for name in _SIZES}
    length, layers, heads, width = (size if _is_count(size) else 0 for size in sizes.values())
    if not heads or width % heads or not layers or rows.shape != (length, layers * 2 * width):
        told = ", ".join(f"{name}={size}" for name, size in sizes.items())
        raise PromptFileError(
            f"PEFT prefix adapter {path} must hold num_virtual_tokens rows of num_layers times 2 times token_dim values, "
            f"token_dim a multiple of num_attention_heads. Received: {told}, tensor {list(rows.shape)}."
        )
    pairs = rows.reshape(length, layers, 2, heads, width // heads)
    key_values = np.take(pairs, _pair_of_layer(layers), axis=1)
    has_added_layer = layers > 1 and layers % 2 == 1 and not key_values[:, -1].any()
    return key_values[:, :-1] if has_added_layer else key_values


def rows_of(task_prompt: TaskPrompt) -> np.ndarray:
    """Return the rows [P, L * 2 * N * D] with which PEFT gives its layers what the task's have.

    Raises:
      PromptFileError: if the task has other tensors than keys and values of the decoder's self-attention.
    """
    others = [name for name in task_prompt.tensors if name != DECODER_PAST_KEY_VALUES]
    if others:
        raise PromptFileError(
            f"A prefix reaches only the decoder's self-attention in PEFT. Received: a task with {', '.join(others)}. "
            "Write a .safetensors file, or train prefix_tuning(encoder=False, cross=False, positions=True)."
        )
    key_values = _in_layers_of_peft(task_prompt)
    pairs = np.zeros_like(key_values)
    pairs[:, _pair_of_layer(key_values.shape[1])] = key_values
    return pairs.reshape(len(pairs), -1)


def config_of(task_prompt: TaskPrompt) -> dict[str, Any]:
    """Return the fields of PEFT's config that are a prefix's own."""
    length, layers, _, heads, head_dim = _in_layers_of_peft(task_prompt).shape
    return {
        "encoder_hidden_size": heads * head_dim,
        "num_attention_heads": heads,
        "num_layers": layers,
        "num_transformer_submodules": _SUBMODULES,
        "num_virtual_tokens": length,
        "peft_type": PREFIX_TYPE,
        "prefix_projection": False,
        "token_dim": heads * head_dim,
    }


def _in_layers_of_peft(task_prompt: TaskPrompt) -> np.ndarray:
    """Return a task's keys and values, with zeros for one layer more where two layers differ that would share a pair."""
    key_values = task_prompt.tensors[DECODER_PAST_KEY_VALUES]
    layers = key_values.shape[1]
    if layers % 2 or np.array_equal(key_values[:, : layers // 2], key_values[:, layers // 2 :]):
        return key_values
    return np.concatenate([key_values, np.zeros_like(key_values[:, :1])], axis=1)


def _pair_of_layer(num_layers: int) -> np.ndarray:
    return 2 * np.arange(num_layers) % num_layers


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
