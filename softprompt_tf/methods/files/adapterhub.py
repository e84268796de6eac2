"""Read and write adapters of AdapterHub: folders that `save_adapter` of the library `adapters` leaves, of a T5.

A folder holds `adapter_config.json` and `adapter.safetensors`. AdapterHub keeps the two matrices and biases of each bottleneck;
here they are units of one tensor for each place. Layers that an adapter leaves out have units of zeros, which add nothing.

Source: adapter-hub/adapters:src/adapters (loading.py, methods/modeling.py, models/t5), 1.3.0.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from softprompt_tf.errors import PromptFileError
from softprompt_tf.files.atomic_file import write_together
from softprompt_tf.files.portable_names import own_name
from softprompt_tf.methods.files.adapter_config import ADAPTER_CONFIG
from softprompt_tf.methods.files.adapterhub_config import WITH_INVERSE, checked_bottleneck, config_of
from softprompt_tf.methods.files.adapterhub_names import ENDS, WRAPPED, Where, place_of, stored_name
from softprompt_tf.methods.files.peft_modules import listed
from softprompt_tf.methods.files.task_prompt import TaskPrompt
from softprompt_tf.methods.files.tensor_file import read_tensors
from softprompt_tf.methods.task_tensors import ADAPTERS, INVERTIBLE_ADAPTER

WEIGHTS = "adapter.safetensors"
METHOD = "adapters"
_DTYPES = ("F32", "F16", "BF16", "F64")

Bottleneck = dict[str, np.ndarray]
"""The tensors of one bottleneck by `ENDS`: down [R, F_in] and [R], up [F_out, R] and [F_out]."""


def is_adapterhub(config: Mapping[str, Any]) -> bool:
    """Say whether a folder's config is AdapterHub's, and not PEFT's."""
    return "peft_type" not in config and "config" in config and "model_type" in config


def fields_of(path: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a task that an adapter's folder gives.

    Raises:
      PromptFileError: if a file is missing or damaged, the adapter is of another kind, or this library computes it otherwise.
    """
    scaling = checked_bottleneck(path, config)
    if not (path / WEIGHTS).exists():
        raise PromptFileError(
            f"AdapterHub adapter {path} must hold {WEIGHTS}. Received: {sorted(item.name for item in path.iterdir())}. "
            "Pickle files (.bin) are never read: save it by save_adapter(..., use_safetensors=True)."
        )
    stored = _stored(path, config, read_tensors(path / WEIGHTS, dtypes=_DTYPES))
    _check_places(path, config["config"], stored)
    units = {where: _units(path, where, parts, scaling) for where, parts in stored.items()}
    return {
        "tensors": {name: _tensor(path, units, name) for name in dict.fromkeys(name for name, _ in units)},
        "method": METHOD,
        "task_id": str(config.get("name") or path.resolve().name),
        "backbone": str(config.get("model_name") or ""),
    }


def write_adapterhub_adapter(path: str | Path, task_prompt: TaskPrompt) -> Path:
    """Write adapters as a folder that AdapterHub's `load_adapter(path, use_safetensors=True)` reads.

    With an invertible adapter it is for a `T5AdapterModel`, whose head applies the inverse; else also for a
    `T5ForConditionalGeneration`.

    Args:
      path: the folder; made where it is missing.
      task_prompt: a task of `adapters`; its backbone's name becomes `model_name`.

    Raises:
      PromptFileError: if the task has other tensors, or a file cannot be written.
    """
    path, tensors = Path(path), task_prompt.tensors
    _check_held(tensors)
    ranks = {name: _rank(name, rows) for name, rows in tensors.items()}
    own = max(rank for name, rank in ranks.items() if name != INVERTIBLE_ADAPTER)
    config = config_of(
        tensors,
        rank=own,
        invertible_rank=ranks.get(INVERTIBLE_ADAPTER),
        name=task_prompt.task_id or path.name,
        model=own_name(task_prompt.backbone),
    )
    prefix = WRAPPED if config["model_class"] == WITH_INVERSE else ""
    weights: dict[str, np.ndarray] = {}
    for name, rows in tensors.items():
        rank = ranks[name] if name == INVERTIBLE_ADAPTER else own
        for layer in range(rows.shape[1]):
            parts = _parts(rows[:, layer], _inputs((name, layer), rows.shape[2]), rank)
            for end, value in parts.items():
                weights[prefix + stored_name(config["name"], (name, layer), end)] = np.ascontiguousarray(value)
    content = safetensors.numpy.save(weights, metadata={"format": "pt"})
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    write_together({path / WEIGHTS: content, path / ADAPTER_CONFIG: text.encode()}, error_type=PromptFileError)
    return path


def _check_held(tensors: Mapping[str, np.ndarray]) -> None:
    """Refuse tensors that AdapterHub has no place for: it puts bottlenecks behind the same parts of both stacks."""
    names = set(tensors)
    halves = [
        f"{one} without {other}"
        for kind in ("attention_adapter", "feed_forward_adapter")
        for one, other in ((f"encoder_{kind}", f"decoder_{kind}"), (f"decoder_{kind}", f"encoder_{kind}"))
        if one in names and other not in names
    ]
    if not names <= {*ADAPTERS, INVERTIBLE_ADAPTER} or not names & set(ADAPTERS) or halves:
        raise PromptFileError(
            "AdapterHub holds bottlenecks behind the same parts of both stacks, and an invertible adapter beside them. "
            f"Received: {', '.join(halves or tensors)}. Write a .safetensors file."
        )


def _stored(path: Path, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> dict[Where, Bottleneck]:
    """Return the bottlenecks of a file."""
    stored: dict[Where, Bottleneck] = {}
    others = []
    for name, value in tensors.items():
        place = place_of(name.removeprefix(WRAPPED), str(config.get("name")))
        if place is None:
            others.append(name)
        else:
            stored.setdefault(place[0], {})[place[1]] = np.asarray(value, np.float64)
    lacking = [f"{name} {k} {end}" for (name, k), parts in stored.items() for end in ENDS if end not in parts]
    if others or lacking or not stored:
        raise PromptFileError(
            f"AdapterHub adapter {path} must hold weights and biases of the bottlenecks of a T5, under its own name. Received: "
            f"{listed([*(f'also {name}' for name in sorted(others)), *(f'no {name}' for name in lacking)])}."
        )
    return stored


def _check_places(path: Path, bottleneck: Mapping[str, Any], stored: Mapping[Where, Bottleneck]) -> None:
    """Refuse a file that lacks bottlenecks that the config asks for, which AdapterHub would draw, or has others."""
    held = {name for name, _ in stored}
    asked = {
        **dict.fromkeys(("encoder_attention_adapter", "decoder_attention_adapter"), bottleneck.get("mh_adapter")),
        **dict.fromkeys(
            ("encoder_feed_forward_adapter", "decoder_feed_forward_adapter"), bottleneck.get("output_adapter")
        ),
        "cross_attention_adapter": bottleneck.get("cross_adapter"),
        INVERTIBLE_ADAPTER: bottleneck.get("inv_adapter"),
    }
    left_out = bottleneck.get("leave_out") or []
    wrong = [
        name for name, is_asked in asked.items() if bool(is_asked) != (name in held) and not (is_asked and left_out)
    ]
    holes = [
        f"layer {layer} of {name}"
        for name in held
        for layer in range(max(layer for other, layer in stored if other == name))
        if (name, layer) not in stored and (name == INVERTIBLE_ADAPTER or not left_out)
    ]
    if wrong or holes:
        raise PromptFileError(
            f"AdapterHub adapter {path} must hold the bottlenecks that its config asks for. Received: another choice of "
            f"{listed([*wrong, *holes])}."
        )


def _units(path: Path, where: Where, parts: Bottleneck, scaling: float) -> np.ndarray:
    """Return a bottleneck as units [R + 1, F_in + F_out + 2]; the last one has the bias of the way up."""
    down, before, up, behind = (parts[end] for end in ENDS)
    rank = len(before)
    factor = 1.0 if where[0] == INVERTIBLE_ADAPTER else scaling
    shapes = (down.shape[:1], before.shape, up.shape[1:], behind.shape)
    if down.ndim != 2 or up.ndim != 2 or shapes != ((rank,), (rank,), (rank,), up.shape[:1]):
        raise PromptFileError(
            f"AdapterHub adapter {path} must hold matrices [R, F] and [F, R], and biases. Received: {where[0]} with "
            f"{[list(part.shape) for part in parts.values()]}."
        )
    units = np.zeros((rank + 1, down.shape[1] + len(behind) + 2))
    units[:rank] = np.concatenate([down, factor * up.T, before[:, None], np.zeros((rank, 1))], axis=1)
    units[rank, down.shape[1] : -2], units[rank, -1] = factor * behind, 1.0
    return units


def _rank(name: str, rows: np.ndarray) -> int:
    """Return how many units [R, L, F] read anything; those behind them, such as that of a bias, give numbers alone."""
    reads = np.zeros(len(rows), bool)
    for layer in range(rows.shape[1]):
        units = rows[:, layer]
        reads |= np.any(units[:, : _inputs((name, layer), rows.shape[2])], axis=1) | (units[:, -2] != 0)
    return max(1 + int(np.max(np.flatnonzero(reads), initial=-1)), 1)


def _parts(units: np.ndarray, inputs: int, rank: int) -> Bottleneck:
    """Return matrices and biases of inner width `rank` of units [R, F_in + F_out + 2]: those behind it give numbers alone."""
    values = np.zeros((max(rank, len(units)), units.shape[1]), np.float32)
    values[: len(units)] = units
    down, up, before, behind = values[:, :inputs], values[:, inputs:-2], values[:, -2], values[:, -1]
    return dict(zip(ENDS, (down[:rank], before[:rank], up[:rank].T, behind @ up), strict=True))


def _inputs(where: Where, columns: int) -> int:
    """Return F_in of units with so many columns; of the invertible adapter, that of its first or second bottleneck."""
    name, layer = where
    if name != INVERTIBLE_ADAPTER:
        return (columns - 2) // 2
    half = (columns - 2) // 2
    return half if layer == 1 else columns - 2 - half


def _tensor(path: Path, units: Mapping[Where, np.ndarray], name: str) -> np.ndarray:
    """Return [R, L, F] of each layer's units, with zeros where there are none."""
    found = {layer: value for (other, layer), value in units.items() if other == name}
    widths = {value.shape[1] for value in found.values()}
    if len(widths) > 1:
        raise PromptFileError(f"AdapterHub adapter {path} must have one width for {name}. Received: {sorted(widths)}.")
    rows = np.zeros((max(map(len, found.values())), 1 + max(found), widths.pop()))
    for layer, value in found.items():
        rows[: len(value), layer] = value
    return rows
