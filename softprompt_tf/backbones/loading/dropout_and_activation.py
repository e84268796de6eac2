"""Choose the dropout and the activation that a T5 is loaded with, other than those stored with its weights."""

import warnings
from typing import Any

import keras
import keras_hub

from softprompt_tf.backbones.passes.activations import activation_of
from softprompt_tf.errors import BackboneError

# `load_t5(activation=...)` -> what KerasHub's `T5Backbone(activation=...)` takes.
CHOICES = {"gelu_approximate": "keras_hub>gelu_approximate", "gelu": "gelu", "relu": "relu"}


def check_choices(dropout: Any, activation: Any) -> None:
    """Refuse values that `load_t5` does not know.

    Raises:
      BackboneError: with the rule.
    """
    is_number = isinstance(dropout, (int, float)) and not isinstance(dropout, bool)
    if dropout is not None and not (is_number and 0 <= dropout < 1):
        raise BackboneError(
            f"`dropout` must be None or a probability from 0 up to, but not, 1. Received: dropout={dropout!r}."
        )
    if activation is not None and activation not in tuple(CHOICES):
        raise BackboneError(
            f"`activation` must be None (as stored) or one of {', '.join(CHOICES)}. Received: activation={activation!r}."
        )


def backbone_settings(dropout: float | None, activation: str | None) -> dict[str, Any]:
    """Return the arguments of a `T5Backbone` that differ from the stored ones: no dropout unless it is asked for."""
    settings: dict[str, Any] = {"dropout": float(dropout or 0.0)}
    if activation is not None:
        settings["activation"] = activation_function(activation)
    return settings


def activation_function(name: str) -> Any:
    """Return what a `T5Backbone` takes for one of `CHOICES`."""
    registered = CHOICES[name]
    return keras.saving.get_registered_object(registered) if ">" in registered else keras.activations.get(registered)


def change_in_place(backbone: keras_hub.models.T5Backbone, dropout: float | None, activation: str | None) -> None:
    """Give a backbone that exists another dropout or activation; None leaves each as it is.

    Raises:
      BackboneError: for a dropout that the backbone was not made with; it can only be taken out.
    """
    if dropout is not None and dropout != backbone.dropout:
        if dropout:
            raise BackboneError(
                "The dropout of a backbone that exists can only be taken out. Received: "
                f"dropout={dropout!r} for a backbone with {backbone.dropout!r}. Make the backbone with it: "
                f"T5Backbone(..., dropout={dropout!r})."
            )
        backbone.dropout = 0.0
        for layer in backbone._flatten_layers():
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0
    if activation is not None:
        backbone.activation = activation_function(activation)
        for layer in (*backbone.encoder_transformer_layers, *backbone.decoder_transformer_layers):
            layer.input_projector.activation = backbone.activation


def warn_of_exact_gelu(backbone: keras_hub.models.T5Backbone, name: str) -> None:
    """Warn where a T5 1.1 has another GELU than the one that T5 1.1 was trained with; KerasHub's converter wrote such presets."""
    known = activation_of(backbone.activation)
    if backbone.use_gated_activation and known is not None and known.name == "gelu":
        warnings.warn(
            f"{name} has gated GELU in its exact form; the original T5 1.1, and what was trained from it, has the tanh form. "
            "Choose that by load_t5(..., activation='gelu_approximate'). activation='gelu' keeps the exact form without this "
            "warning.",
            stacklevel=4,
        )
