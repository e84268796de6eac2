"""The two stacks of a T5 whose weights never train: forward, and the gradient that runs back through all layers.

A stack keeps for its gradient what every block gives, or, where it recomputes, each layer's input only.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import keras
from keras import ops

from softprompt_tf.t5 import frozen_blocks as blocks
from softprompt_tf.t5.absorbed_attention import AbsorbedAttention
from softprompt_tf.t5.frozen_feed_forward import feed_forward_of
from softprompt_tf.t5.projected_attention import ProjectedAttention
from softprompt_tf.typing import Tensor

CrossAttention = type[AbsorbedAttention] | type[ProjectedAttention]


class FrozenLayer(NamedTuple):
    """The frozen weights of one layer; an encoder's has no cross-attention."""

    attention: blocks.SelfAttention
    feed_forward: Any
    cross: Any = None

    @classmethod
    def of(cls, layer: keras.layers.Layer, dtype: str, kind: CrossAttention | None = None) -> "FrozenLayer":
        """Read a layer's weights; `kind` is the cross-attention of a decoder's."""
        attention = blocks.SelfAttention.of(layer.self_attention_layer_norm, layer.self_attention, dtype)
        cross = kind and kind.of(layer.cross_attention_layer_norm, layer.cross_attention, dtype)
        return cls(attention, feed_forward_of(layer, dtype), cross)


class EncoderStack(NamedTuple):
    """An encoder and where it may look; states are [B * S, H]."""

    bias: Tensor
    layers: list[FrozenLayer]
    scale: Tensor
    shape: blocks.Shape
    epsilon: float
    recompute: bool = False

    def forward(self, states: Tensor) -> tuple[Tensor, list[Any]]:
        """Return normed states [B * S, H], and what the gradient needs: one entry a layer, and one."""
        states, kept = _through(self.layers, states, self._run, recompute=self.recompute)
        output, inverse = blocks.norm(states, self.scale, self.epsilon)
        return output, [*kept, (states, inverse)]

    def gradient(self, upstream: Tensor, kept: list[Any], num_moving: int | None) -> Tensor:
        """Return the gradient [B * S, H] of the embeddings from that of the output, 0 behind `num_moving` rows in front."""
        states, inverse = kept[-1]
        gradient = blocks.norm_gradient(upstream, states, self.scale, inverse)
        for k in reversed(range(len(self.layers))):
            layer, of_layer = self.layers[k], kept[k]
            if self.recompute:
                _, of_layer = self._run(layer, _once_there(gradient, of_layer))
            attention, feed_forward = of_layer
            gradient = layer.feed_forward.gradient(gradient, feed_forward)
            count = num_moving if k == 0 else None
            gradient = blocks.attend_gradient(gradient, layer.attention, attention, self.shape, count)
        return gradient

    def _run(self, layer: FrozenLayer, states: Tensor) -> tuple[Tensor, tuple[Any, Any]]:
        """Run one layer; return states, and what its gradient needs."""
        states, attention = blocks.attend(states, layer.attention, self.bias, self.shape, self.epsilon)
        states, feed_forward = layer.feed_forward.forward(states, self.epsilon)
        return states, (attention, feed_forward)


class DecoderStack(NamedTuple):
    """A decoder and all that it looks at but the encoder output; states are [B * U, H]."""

    states: Tensor
    bias: Tensor
    source_bias: Tensor
    layers: list[FrozenLayer]
    scale: Tensor
    shape: blocks.Shape
    epsilon: float
    recompute: bool = False

    def forward(self, encoder_output: Tensor) -> tuple[Tensor, list[Any]]:
        """Return the decoder's normed states [B * U, H], and what the gradient needs: one entry a layer, and one."""
        run = partial(self._run, encoder_output=encoder_output)
        states, kept = _through(self.layers, self.states, run, recompute=self.recompute)
        output, inverse = blocks.norm(states, self.scale, self.epsilon)
        return output, [*kept, (states, inverse)]

    def gradient(self, upstream: Tensor, kept: list[Any], encoder_output: Tensor) -> Tensor:
        """Return the gradient [B, S, H] of the encoder output from that of the states [B * U, H]."""
        states, inverse = kept[-1]
        gradient, parts = blocks.norm_gradient(upstream, states, self.scale, inverse), []
        for layer, of_layer in zip(reversed(self.layers), kept[-2::-1], strict=True):
            if self.recompute:
                _, of_layer = self._run(layer, _once_there(gradient, of_layer), encoder_output)
            attention, to_encoder, feed_forward = of_layer
            gradient = layer.feed_forward.gradient(gradient, feed_forward)
            gradient, part = layer.cross.gradient(gradient, to_encoder, encoder_output, self.shape)
            parts.append(part)
            gradient = blocks.attend_gradient(gradient, layer.attention, attention, self.shape)
        return self.layers[0].cross.encoder_gradient(parts, encoder_output)

    def _run(self, layer: FrozenLayer, states: Tensor, encoder_output: Tensor) -> tuple[Tensor, tuple[Any, Any, Any]]:
        """Run one layer; return states, and what its gradient needs."""
        states, attention = blocks.attend(states, layer.attention, self.bias, self.shape, self.epsilon)
        states, to_encoder = layer.cross.forward(states, encoder_output, self.source_bias, self.shape, self.epsilon)
        states, feed_forward = layer.feed_forward.forward(states, self.epsilon)
        return states, (attention, to_encoder, feed_forward)


def _through(
    layers: list[FrozenLayer], states: Tensor, run: Callable[..., Any], *, recompute: bool
) -> tuple[Tensor, list[Any]]:
    """Run states through all layers; return them, and what each layer's gradient needs: its input, if it is run again."""
    kept: list[Any] = []
    for layer in layers:
        before = states
        states, of_layer = run(layer, before)
        kept.append(before if recompute else of_layer)
    return states, kept


def _once_there(gradient: Tensor, states: Tensor) -> Tensor:
    """Return states [M, H] that cannot be read before a gradient [M, H] is computed.

    Without that, what is recomputed from them would be computed early, or be taken for what the first pass computed, and all of
    it kept. Where the gradient is NaN, the states are.
    """
    first = gradient[:1, :1]
    return ops.where(ops.isnan(first), first, states)
