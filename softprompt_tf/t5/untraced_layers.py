"""T5's transformer layers built from their sizes, so that a backbone is there in a tenth of the time.

KerasHub's layers have no `build` of their own: Keras traces each of them twice, once to find what weights it makes and once to
find what shapes it returns. Both are known.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import keras
from keras_hub.src.models.t5.t5_multi_head_attention import T5MultiHeadAttention
from keras_hub.src.models.t5.t5_transformer_layer import T5TransformerLayer

_one_at_a_time = RLock()  # the classes are changed for all threads


@contextmanager
def untraced_layers() -> Iterator[None]:
    """Within it, a T5 layer that meets its first symbolic inputs is built, and its outputs told, without running its code.

    The layers, their weights and their names are the same as without it, and stay so afterwards.
    """
    own = (
        (T5MultiHeadAttention, "build", _build_attention),
        (T5TransformerLayer, "build", _build_layer),
        (T5TransformerLayer, "compute_output_spec", _output_spec),
    )
    with _one_at_a_time:
        before = [(kind, name, kind.__dict__.get(name)) for kind, name, _ in own]
        for kind, name, method in own:
            setattr(kind, name, method)
        try:
            yield
        finally:
            for kind, name, method in before:
                if method is None:
                    delattr(kind, name)
                else:
                    setattr(kind, name, method)


def _build_attention(self: T5MultiHeadAttention, input_shape: Any) -> None:
    """Build the four projections in the order in which the layer's code meets them."""
    states = (None, None, self.hidden_dim)  # of the decoder and of the encoder alike
    for projector in (self.query_projector, self.key_projector, self.value_projector):
        projector.build(states)
    self.output_projector.build((None, None, self.inner_dim))


def _build_layer(self: T5TransformerLayer, input_shape: Any) -> None:
    """Build the blocks in the order in which the layer's code meets them."""
    self.self_attention_layer_norm.build(input_shape)
    self.self_attention.build(input_shape)
    if self.is_decoder:
        self.cross_attention_layer_norm.build(input_shape)
        self.cross_attention.build(input_shape)
    self.layer_norm.build(input_shape)
    self.input_projector.build(input_shape)
    if self.use_gated_activation:
        self.gate_projector.build(input_shape)
    self.output_projector.build((*input_shape[:-1], self.input_projector.units))


def _output_spec(self: T5TransformerLayer, hidden_states: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """Return the states [B, T, H], and the position bias with the mask in it [B, N, T, T]."""
    if kwargs.get("self_attention_cache") is not None:
        return keras.layers.Layer.compute_output_spec(self, hidden_states, *args, **kwargs)
    dtype = self.compute_dtype
    bias = keras.KerasTensor((None, self.self_attention.num_heads, None, None), dtype=dtype)
    return keras.KerasTensor(hidden_states.shape, dtype=dtype), bias
