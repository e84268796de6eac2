"""Run KerasHub's own layers one after the other, whatever was changed in them; each where its weights are."""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import keras_hub

from softprompt_tf.backbones.passes.placed import Placement, devices_of, placed
from softprompt_tf.typing import Tensor


def encode_by_layers(
    backbone: keras_hub.models.T5Backbone,
    placement: Placement | None,
    embeddings: Tensor,
    padding_mask: Tensor,
    *,
    recompute: bool,
) -> Tensor:
    """Return the encoder output [B, T, H] of embeddings [B, T, H]; arguments as in `FrozenT5.encode`."""
    mask = padding_mask[:, None, :]
    states, position_bias = embeddings, None
    layers = backbone.encoder_transformer_layers
    devices = devices_of(placement, "encoder", len(layers))
    for layer, device in zip(layers, devices, strict=True):
        plain = partial(layer, attention_mask=mask, position_bias=position_bias, use_causal_mask=False)
        states, position_bias = _on_its_device(layer, plain, device, recompute)(states)
    return placed(devices[-1], backbone.encoder_layer_norm)(states)


def decode_by_layers(
    backbone: keras_hub.models.T5Backbone,
    placement: Placement | None,
    embeddings: Tensor,
    encoder_output: Tensor,
    encoder_padding_mask: Tensor,
    *,
    recompute: bool,
) -> Tensor:
    """Return the decoder states [B, U, H] of complete targets' embeddings [B, U, H]; arguments as in `FrozenT5.decode`."""
    encoder_mask = encoder_padding_mask[:, None, :]
    states, position_bias = embeddings, None
    layers = backbone.decoder_transformer_layers
    devices = devices_of(placement, "decoder", len(layers))
    for layer, device in zip(layers, devices, strict=True):
        plain = partial(
            _run_decoder_layer,
            layer,
            position_bias=position_bias,
            encoder_attention_mask=encoder_mask,
            use_causal_mask=True,
        )
        states, position_bias = _on_its_device(layer, plain, device, recompute)(states, encoder_output)
    return placed(devices[-1], backbone.decoder_layer_norm)(states)


def _run_decoder_layer(layer: keras.Layer, states: Tensor, encoder_output: Tensor, **others: Any) -> Any:
    return layer(states, encoder_hidden_states=encoder_output, **others)


def _on_its_device(
    layer: keras.Layer, plain: Callable[..., Any], device: str | None, recompute: bool
) -> Callable[..., Any]:
    return placed(device, _remat(plain) if recompute else plain, waits=is_quantized(layer))


def is_quantized(layer: keras.Layer) -> bool:
    """Say whether a layer, or one in it, is quantized."""
    return any(getattr(part, "quantization_mode", None) for part in layer._flatten_layers())


def _remat(run: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that keeps its positional arguments and computes the rest again for its gradient."""
    return keras.remat(lambda *tensors: run(*tensors))  # TensorFlow wants a function with a name
