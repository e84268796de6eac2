"""Read the form of a Hugging Face T5's feed-forward blocks from its config."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from softprompt_tf.backbones.checkpoints.architecture import GELU_TANH
from softprompt_tf.errors import BackboneError

# transformers: `T5Config.feed_forward_proj` -> activation, gated. "gated-gelu" means the tanh form there, "gelu" the exact one.
FEED_FORWARD = {
    "relu": ("relu", False),
    "gated-relu": ("relu", True),
    "gelu": ("gelu", False),
    "gelu_new": (GELU_TANH, False),
    "gated-gelu": (GELU_TANH, True),
    "gated-gelu_new": (GELU_TANH, True),
    "silu": ("silu", False),
    "gated-silu": ("silu", True),
}
# transformers: `T5Config.dense_act_fn`, a name of its table of activations.
ACTIVATION_FUNCTIONS = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_new": GELU_TANH,
    "gelu_pytorch_tanh": GELU_TANH,
    "silu": "silu",
    "swish": "silu",
}


def feed_forward_form(config: Mapping[str, Any], path: Path) -> tuple[str, bool]:
    """Return the activation and whether the blocks are gated.

    `dense_act_fn` and `is_gated_act`, where the config has them, win over `feed_forward_proj`, as in transformers.

    Args:
      config: the content of `config.json`.
      path: of the config, for messages.

    Raises:
      BackboneError: if one of the three keys has a value that is not known.
    """
    projection = config.get("feed_forward_proj", "gated-gelu" if config.get("model_type") == "mt5" else "relu")
    if not isinstance(projection, str) or projection not in FEED_FORWARD:
        raise BackboneError(
            f"`feed_forward_proj` of {path} must be one of {', '.join(FEED_FORWARD)}. Received: {projection!r}."
        )
    activation, is_gated = FEED_FORWARD[projection]
    function = config.get("dense_act_fn")
    if function is not None:
        if not isinstance(function, str) or function not in ACTIVATION_FUNCTIONS:
            raise BackboneError(
                f"`dense_act_fn` of {path} must be one of {', '.join(ACTIVATION_FUNCTIONS)}. Received: {function!r}."
            )
        activation = ACTIVATION_FUNCTIONS[function]
    gate = config.get("is_gated_act")
    if gate is not None and not isinstance(gate, bool):
        raise BackboneError(f"`is_gated_act` of {path} must be true or false. Received: {gate!r}.")
    return activation, is_gated if gate is None else gate
