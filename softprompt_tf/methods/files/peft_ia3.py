"""Convert a PEFT (IA)^3 adapter to what scales projections and feed-forwards, and back.

PEFT keeps a vector for each module: [F_out, 1], which multiplies its outputs, or [1, F_in] for a feed-forward module, which
multiplies its inputs. Layers that an adapter leaves out have ones. A gated feed-forward is wo (gelu(wi_0 x) * wi_1 x): there, a
vector that multiplies the outputs of wi_1 is one that multiplies the inputs of wo.

Source: huggingface/peft:src/peft/tuners/ia3, 0.21.2.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from softprompt_tf.errors import PromptFileError
from softprompt_tf.methods.files.peft_modules import (
    FEED_FORWARD,
    PREFIX,
    PROJECTIONS,
    Module,
    check_settings,
    check_targets,
    is_named,
    listed,
    module_of,
    num_layers,
    stored_modules,
    target_modules,
)
from softprompt_tf.methods.files.task_prompt import TaskPrompt
from softprompt_tf.methods.task_tensors import CHANGES

IA3_TYPE = "IA3"
METHOD = "ia3"
_VECTOR = "ia3_l"
_BLOCKS = ("SelfAttention", "EncDecAttention", FEED_FORWARD)
_DEFAULT_TARGETS, _DEFAULT_FEED_FORWARDS = ("k", "v", "wo"), ("wo",)  # of PEFT, in a T5
_READ = ("target_modules", "exclude_modules", "feedforward_modules", "task_type", "peft_type")
_WITHOUT_EFFECT = (
    "auto_mapping",
    "base_model_name_or_path",
    "fan_in_fan_out",  # PEFT sets it back for T5's projections
    "inference_mode",
    "init_ia3_weights",
    "peft_version",
    "revision",
)


def scales_of(path: Path, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a task's tensors.

    Args:
      path: the adapter's folder, for messages.
      config: its config.
      tensors: its tensors by their names.

    Raises:
      PromptFileError: if it changes other modules than projections of the attentions, `wo` and `wi_1`, has settings that are not
        known here, or holds other tensors than its config says.
    """
    check_settings(path, config, (*_READ, *_WITHOUT_EFFECT))
    stored = stored_modules(path, tensors, ends=(_VECTOR,), blocks=_BLOCKS)
    check_targets(path, config, stored, _DEFAULT_TARGETS)
    scales: dict[str, list[tuple[int, np.ndarray]]] = {}
    for module, values in stored.items():
        vector = _vector(path, config, module, values[_VECTOR])
        scales.setdefault(_name(module), []).append((module.layer, vector))
    found = {}
    for name, vectors in scales.items():
        widths = {vector.size for _, vector in vectors}
        if len(widths) > 1:
            raise PromptFileError(f"PEFT adapter {path} must have one width for {name}. Received: {sorted(widths)}.")
        layers = num_layers(stored, "encoder" if CHANGES[name][0] == "encoder" else "decoder")
        rows = np.ones((1, layers, widths.pop()), np.float64)
        for layer, vector in vectors:
            rows[0, layer] *= vector  # wi_1 and wo of a layer may have one each
        found[name] = rows
    return found


def tensors_of(task_prompt: TaskPrompt) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the tensors of an adapter, and the fields of its config that are (IA)^3's own."""
    tensors, modules = {}, []
    for name, value in task_prompt.tensors.items():
        place, kind = CHANGES[name]
        for layer in range(value.shape[1]):
            if kind == "feed_forward_scale":
                module, vector = Module(place, layer, FEED_FORWARD, "wo"), value[:, layer]
            else:
                module, vector = module_of(place, layer, kind.removesuffix("_scale")), value[:, layer].T
            tensors[f"{PREFIX}{module.name}.{_VECTOR}"] = np.ascontiguousarray(vector)
            modules.append(module)
    targets = target_modules(modules)
    has_feed_forward = any(module.block == FEED_FORWARD for module in modules)
    # A pattern of targets needs one of feed-forwards too; a list of them must be among listed targets.
    feed_forwards = [] if not has_feed_forward else ["wo"] if isinstance(targets, list) else r".*\.wo"
    config = {
        "fan_in_fan_out": False,
        "feedforward_modules": feed_forwards,
        "init_ia3_weights": True,
        "peft_type": IA3_TYPE,
        "target_modules": targets,
    }
    return tensors, config


def _name(module: Module) -> str:
    if module.block == FEED_FORWARD:
        return f"{module.stack}_feed_forward_scale"
    return f"{module.place}_{PROJECTIONS[module.part]}_scale"


def _vector(path: Path, config: Mapping[str, Any], module: Module, value: np.ndarray) -> np.ndarray:
    """Return a module's vector; what it multiplies must be what this library has."""
    feed_forwards = config.get("feedforward_modules")
    feed_forwards = _DEFAULT_FEED_FORWARDS if feed_forwards is None else feed_forwards
    multiplies_inputs = is_named(path, feed_forwards, module.name)
    if multiplies_inputs != (module.part == "wo"):
        what = "inputs" if multiplies_inputs else "outputs"
        raise PromptFileError(
            f"PEFT adapter {path} must scale the outputs of q, k, v, o and wi_1, and the inputs of wo. Received: the {what} of "
            f"{listed([module.name])}, by feedforward_modules={feed_forwards}."
        )
    if value.ndim != 2 or value.shape[0 if multiplies_inputs else 1] != 1:
        raise PromptFileError(
            f"PEFT adapter {path} must hold vectors [F, 1], and [1, F] of wo. Received: {module.name} with {list(value.shape)}."
        )
    return np.asarray(value, np.float64).reshape(-1)
