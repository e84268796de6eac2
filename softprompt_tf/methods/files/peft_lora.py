"""Convert a PEFT LoRA adapter to what is added to projections, and back.

PEFT keeps A [R, F_in] and B [F_out, R] of each projection, and adds scale * B A; the scale is alpha / R, or alpha over the root of
R. Here the scale is in the way up. Modules may differ in rank: the rows that one lacks are zeros, which add nothing, and so are
those of layers that the adapter leaves out.

Source: huggingface/peft:src/peft/tuners/lora, 0.21.2.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from softprompt_tf.errors import PromptFileError
from softprompt_tf.methods.files.field_checks import LARGEST_COUNT, is_finite_number
from softprompt_tf.methods.files.peft_modules import (
    PREFIX,
    PROJECTIONS,
    Module,
    Stored,
    check_settings,
    check_targets,
    module_of,
    num_layers,
    stored_modules,
    target_modules,
)
from softprompt_tf.methods.files.task_prompt import TaskPrompt
from softprompt_tf.methods.task_tensors import DELTAS

LORA_TYPE = "LORA"
METHOD = "lora"
_DOWN, _UP = "lora_A.weight", "lora_B.weight"
_ATTENTIONS = ("SelfAttention", "EncDecAttention")
_DEFAULT_TARGETS = ("q", "v")  # of PEFT, in a T5
# What decides the numbers, and is read here; and what decides none of them once the adapter is trained.
_READ = ("r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "target_modules", "exclude_modules")
_READ_LAYERS = ("layers_to_transform", "layers_pattern", "bias", "init_lora_weights", "task_type", "peft_type")
_WITHOUT_EFFECT = (
    "auto_mapping",
    "base_model_name_or_path",
    "ensure_weight_tying",
    "eva_config",
    "fan_in_fan_out",  # PEFT sets it back for T5's projections
    "inference_mode",
    "lora_dropout",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
)
_CHANGES_NOTHING = (None, True, False, "gaussian", "orthogonal", "eva")  # others change the T5's own weights


def deltas_of(path: Path, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the fields of a task: its tensors, and H.

    Args:
      path: the adapter's folder, for messages.
      config: its config.
      tensors: its tensors by their names.

    Raises:
      PromptFileError: if it changes other modules than projections of the attentions, has settings that are not known here, or
        holds other tensors than its config says.
    """
    _check_settings(path, config)
    stored = stored_modules(path, tensors, ends=(_DOWN, _UP), blocks=_ATTENTIONS)
    check_targets(path, config, stored, _DEFAULT_TARGETS)
    hidden_dim, inner_dim = _widths(path, stored)
    deltas: dict[str, list[tuple[int, np.ndarray]]] = {}
    for module, values in stored.items():
        rank, scale = _rank_and_scale(path, config, module)
        down, up = values[_DOWN], values[_UP]
        wide = (inner_dim, hidden_dim) if module.part == "o" else (hidden_dim, inner_dim)
        if (down.shape, up.shape) != ((rank, wide[0]), (wide[1], rank)):
            raise PromptFileError(
                f"PEFT adapter {path} must hold A [R, F_in] and B [F_out, R] of each projection, as its config says. Received: "
                f"{module.name} with {list(down.shape)} and {list(up.shape)}, rank {rank}, H={hidden_dim}, N * D={inner_dim}."
            )
        scaled = scale * np.asarray(up, np.float64).T  # rounded once, where the task is made
        rows = np.concatenate([np.asarray(down, np.float64), scaled], axis=1)
        deltas.setdefault(f"{module.place}_{PROJECTIONS[module.part]}_delta", []).append((module.layer, rows))
    layers = {place: num_layers(stored, "encoder" if place == "encoder" else "decoder") for place, _ in DELTAS.values()}
    found = {name: _in_layers(parts, layers[DELTAS[name][0]]) for name, parts in deltas.items()}
    return {"tensors": found, "backbone_hidden_dim": hidden_dim}


def tensors_of(path: Path, task_prompt: TaskPrompt, hidden_dim: int | None) -> tuple[dict[str, np.ndarray], Any]:
    """Return the tensors of an adapter, and the fields of its config that are LoRA's own; its scale is 1.

    Args:
      path: the adapter's folder, for messages.
      task_prompt: the task.
      hidden_dim: H, where the task does not know it.

    Raises:
      PromptFileError: if H is not known, or is not that of the tensors.
    """
    hidden_dim = task_prompt.backbone_hidden_dim or hidden_dim
    narrowest = min(value.shape[2] for value in task_prompt.tensors.values())
    if hidden_dim is None or not 0 < hidden_dim < narrowest:
        raise PromptFileError(
            "PEFT keeps the two matrices of a LoRA apart, so the T5's hidden size must be known. Received: "
            f"hidden_dim={hidden_dim}, rows of {narrowest} values, for {path}. Give `hidden_dim` to `write_peft_adapter`."
        )
    tensors, ranks = {}, {}
    for name, value in task_prompt.tensors.items():
        place, projection = DELTAS[name]
        width = value.shape[2] - hidden_dim if projection == "output" else hidden_dim
        for layer in range(value.shape[1]):
            module = module_of(place, layer, projection)
            tensors[f"{PREFIX}{module.name}.{_DOWN}"] = np.ascontiguousarray(value[:, layer, :width])
            tensors[f"{PREFIX}{module.name}.{_UP}"] = np.ascontiguousarray(value[:, layer, width:].T)
            ranks[module] = len(value)
    rank = max(ranks.values())
    lower = {module.name.replace(".", r"\."): count for module, count in ranks.items() if count != rank}
    config = {
        "alpha_pattern": lower,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "peft_type": LORA_TYPE,
        "r": rank,
        "rank_pattern": lower,
        "target_modules": target_modules(ranks),
        "use_rslora": False,
    }
    return tensors, config


def _check_settings(path: Path, config: Mapping[str, Any]) -> None:
    check_settings(path, config, (*_READ, *_READ_LAYERS, *_WITHOUT_EFFECT))
    bias, start = config.get("bias"), config.get("init_lora_weights")
    if bias not in (None, "none", "lora_only"):  # a T5's projections have no biases that the last could train
        raise PromptFileError(f"PEFT adapter {path} must leave biases as they are. Received: bias={bias!r}.")
    if start not in _CHANGES_NOTHING:
        raise PromptFileError(
            f"PEFT adapter {path} must leave the T5's own weights as they are. Received: init_lora_weights={start!r}, which "
            "changes them. Save it with path_initial_model_for_weight_conversion."
        )


def _rank_and_scale(path: Path, config: Mapping[str, Any], module: Module) -> tuple[int, float]:
    rank = _by_pattern(path, config, "rank_pattern", module, config.get("r"))
    alpha = _by_pattern(path, config, "alpha_pattern", module, config.get("lora_alpha"))
    is_count = isinstance(rank, int) and not isinstance(rank, bool) and 0 < rank <= LARGEST_COUNT
    if not is_count or not is_finite_number(alpha):
        raise PromptFileError(
            f"PEFT adapter {path} must have a rank and an alpha for {module.name}. Received: r={rank!r}, lora_alpha={alpha!r}."
        )
    return rank, alpha / (rank**0.5 if config.get("use_rslora") else rank)


def _by_pattern(path: Path, config: Mapping[str, Any], name: str, module: Module, default: Any) -> Any:
    """Return a module's own value: that of the first pattern which its name ends with."""
    patterns = config.get(name) or {}
    try:
        return next((value for key, value in patterns.items() if _ends_with(module.name, key)), default)
    except (re.error, AttributeError, TypeError) as error:
        raise PromptFileError(f"PEFT adapter {path} must have patterns as `{name}`. Received: {error}.") from error


def _ends_with(name: str, pattern: str) -> bool:
    return re.match(rf"(.*\.)?({pattern})$", name) is not None


def _widths(path: Path, stored: Stored) -> tuple[int, int]:
    """Return H and N * D, as the adapter's first module has them."""
    module, values = next(iter(stored.items()))
    if any(value.ndim != 2 for value in (values[_DOWN], values[_UP])):
        raise PromptFileError(
            f"PEFT adapter {path} must hold matrices. Received: {module.name} with another number of axes."
        )
    inner, hidden = values[_DOWN].shape[1], values[_UP].shape[0]
    return (hidden, inner) if module.part == "o" else (inner, hidden)


def _in_layers(parts: list[tuple[int, np.ndarray]], layers: int) -> np.ndarray:
    """Return [R, L, F_in + F_out] of each layer's rows, with zeros where there are none."""
    rank = max(len(rows) for _, rows in parts)
    found = np.zeros((rank, layers, parts[0][1].shape[1]))
    for layer, rows in parts:
        found[: len(rows), layer] = rows
    return found
