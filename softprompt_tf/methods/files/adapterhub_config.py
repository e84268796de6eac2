"""Which of AdapterHub's settings of a bottleneck this library computes as AdapterHub does, and the config of a written adapter."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from softprompt_tf.errors import PromptFileError
from softprompt_tf.methods.files.field_checks import is_finite_number
from softprompt_tf.methods.files.peft_modules import listed
from softprompt_tf.methods.task_tensors import INVERTIBLE_ADAPTER

WITH_INVERSE = "T5AdapterModel"
_WITHOUT_INVERSE = "T5ForConditionalGeneration"
_MODELS = ("t5", "mt5")
_GELU = ("gelu_new", "gelu_pytorch_tanh")  # GELU in its tanh form
# Setting -> what it must be, where it is there.
_MUST_BE = {
    "architecture": (None,),
    "non_linearity": _GELU,
    "original_ln_before": (False,),  # True: it reads the sum with the states
    "original_ln_after": (True,),
    "ln_before": (False,),
    "ln_after": (False,),
    "is_parallel": (False,),
    "use_gating": (False,),
    "phm_layer": (False,),
    "inv_adapter": (None, "nice"),
}
_READ = ("mh_adapter", "output_adapter", "cross_adapter", "leave_out", "scaling")
_WITHOUT_EFFECT = (
    "reduction_factor",  # the matrices tell
    "inv_adapter_reduction_factor",
    "residual_before_ln",  # of original_ln_before
    "adapter_residual_before_ln",  # of ln_after
    "init_weights",
    "init_weights_seed",
    "dropout",
    "stochastic_depth",
)
_OF_OTHER_LAYERS = ("phm_", "shared_", "factorized_", "learn_phm", "hypercomplex_nonlinearity")


def checked_bottleneck(path: Path, config: Mapping[str, Any]) -> float:
    """Return what an adapter's outputs are multiplied by.

    Raises:
      PromptFileError: if it is for another kind of model, or has settings that mean something else here.
    """
    bottleneck, model = config.get("config"), config.get("model_type")
    if model not in _MODELS or not isinstance(bottleneck, Mapping):
        raise PromptFileError(
            f"AdapterHub adapter {path} must be for a T5 (model_type {' or '.join(_MODELS)}) and have its settings. Received: "
            f"model_type={model!r}, config={bottleneck!r}."
        )
    wrong = [
        f"{name}={bottleneck[name]!r}"
        for name, allowed in _MUST_BE.items()
        if name in bottleneck and bottleneck[name] not in allowed
    ]
    known = {*_MUST_BE, *_READ, *_WITHOUT_EFFECT}
    wrong += [
        f"{name}={value!r}"
        for name, value in sorted(bottleneck.items())
        if value and name not in known and not name.startswith(_OF_OTHER_LAYERS)
    ]
    if wrong or bottleneck.get("non_linearity") not in _GELU:
        raise PromptFileError(
            f"AdapterHub adapter {path} must be a bottleneck that this library computes too. Received: {listed(wrong)}. Train it "
            "with DoubleSeqBnConfig or SeqBnConfig, non_linearity='gelu_new' and original_ln_before=False."
        )
    if bottleneck.get("inv_adapter") and config.get("model_class") != WITH_INVERSE:
        raise PromptFileError(
            f"AdapterHub adapter {path} must be of a {WITH_INVERSE}: other models do not apply the inverse of inv_adapter before "
            f"the head. Received: model_class={config.get('model_class')!r}. Train it on that class."
        )
    scaling = bottleneck.get("scaling", 1.0)
    if not is_finite_number(scaling):
        raise PromptFileError(f"AdapterHub adapter {path} must have a number as `scaling`. Received: {scaling!r}.")
    return float(scaling)


def config_of(
    tensors: Mapping[str, np.ndarray], *, rank: int, invertible_rank: int | None, name: str, model: str
) -> dict[str, Any]:
    """Return the config of an adapter with these tensors, of inner widths `rank`."""
    hidden_dim = next((rows.shape[2] - 2) // 2 for key, rows in tensors.items() if key != INVERTIBLE_ADAPTER)
    bottleneck = {
        "cross_adapter": "cross_attention_adapter" in tensors,
        "inv_adapter": None if invertible_rank is None else "nice",
        "inv_adapter_reduction_factor": invertible_rank and _factor(hidden_dim // 2, invertible_rank),
        "ln_after": False,
        "ln_before": False,
        "mh_adapter": any(key in tensors for key in ("encoder_attention_adapter", "decoder_attention_adapter")),
        "non_linearity": _GELU[0],
        "original_ln_after": True,
        "original_ln_before": False,
        "output_adapter": any(
            key in tensors for key in ("encoder_feed_forward_adapter", "decoder_feed_forward_adapter")
        ),
        "reduction_factor": _factor(hidden_dim, rank),
    }
    return {
        "config": bottleneck,
        "hidden_size": hidden_dim,
        "model_class": _WITHOUT_INVERSE if invertible_rank is None else WITH_INVERSE,
        "model_name": model or None,
        "model_type": _MODELS[0],
        "name": name,
        "version": "adapters.1.3.0",
    }


def _factor(width: int, rank: int) -> float:
    """Return what AdapterHub divides a width by, and rounds down, to get a rank."""
    factor = width / rank
    return factor if int(width // factor) == rank else float(np.nextafter(factor, 0))
