"""The feed-forward blocks of a T5 whose weights never train, in the two forms that published T5s have; see `frozen_blocks`."""

from typing import NamedTuple

import keras
import keras_hub
from keras import ops

from softprompt_tf.t5.frozen_blocks import back, frozen, norm, norm_gradient
from softprompt_tf.t5.fused_forward import is_tanh_gelu
from softprompt_tf.typing import Tensor

_GELU_LINEAR = 1.5957691216057308  # 2 sqrt(2 / pi): GELU in its tanh form is a * sigmoid(a * (linear + cubic * a^2))
_GELU_CUBIC = 0.07135481282803774  # 0.044715 times that


class KeptGelu(NamedTuple):
    """What the gradient needs: states [M, H], what they were normed by [M, 1]; inner state, its sigmoid, gate [M, F]."""

    states: Tensor
    inverse: Tensor
    inner: Tensor
    sigmoid: Tensor
    gate: Tensor


class GatedGelu(NamedTuple):
    """The block of T5 1.1, gated GELU in its tanh form: the norm's scale [H], input and gate [H, F], output [F, H]."""

    scale: Tensor
    input: Tensor
    gate: Tensor
    output: Tensor

    def forward(self, states: Tensor, epsilon: float) -> tuple[Tensor, KeptGelu]:
        """Run on states [M, H]; return states [M, H], and what the gradient needs."""
        normed, inverse = norm(states, self.scale, epsilon)
        inner, gate = ops.matmul(normed, self.input), ops.matmul(normed, self.gate)
        sigmoid = ops.sigmoid(inner * (_GELU_LINEAR + _GELU_CUBIC * (inner * inner)))
        output = states + ops.matmul(inner * sigmoid * gate, self.output)
        return output, KeptGelu(states, inverse, inner, sigmoid, gate)

    def gradient(self, upstream: Tensor, kept: KeptGelu) -> Tensor:
        """Return the gradient [M, H] of the block's input."""
        hidden = back(upstream, self.output)  # [M, F]
        inner, sigmoid = kept.inner, kept.sigmoid
        slope = inner * (_GELU_LINEAR + (3 * _GELU_CUBIC) * (inner * inner))
        slope = sigmoid * (1.0 + slope * (1.0 - sigmoid))
        normed = back(hidden * kept.gate * slope, self.input) + back(hidden * (inner * sigmoid), self.gate)
        return upstream + norm_gradient(normed, kept.states, self.scale, kept.inverse)


class KeptRelu(NamedTuple):
    """What the gradient needs: states [M, H], what they were normed by [M, 1], and the activation [M, F]."""

    states: Tensor
    inverse: Tensor
    hidden: Tensor


class PlainRelu(NamedTuple):
    """The block of T5 1.0, ReLU without a gate: the norm's scale [H], input [H, F], output [F, H]."""

    scale: Tensor
    input: Tensor
    output: Tensor

    def forward(self, states: Tensor, epsilon: float) -> tuple[Tensor, KeptRelu]:
        """Run on states [M, H]; return states [M, H], and what the gradient needs."""
        normed, inverse = norm(states, self.scale, epsilon)
        hidden = ops.relu(ops.matmul(normed, self.input))
        return states + ops.matmul(hidden, self.output), KeptRelu(states, inverse, hidden)

    def gradient(self, upstream: Tensor, kept: KeptRelu) -> Tensor:
        """Return the gradient [M, H] of the block's input."""
        hidden = back(upstream, self.output)
        inner = ops.where(kept.hidden > 0, hidden, ops.zeros_like(hidden))
        return upstream + norm_gradient(back(inner, self.input), kept.states, self.scale, kept.inverse)


def has_known_form(backbone: keras_hub.models.T5Backbone) -> bool:
    """Say whether the blocks of a backbone are of one of the two forms."""
    if backbone.use_gated_activation:
        return is_tanh_gelu(backbone.activation)
    return keras.activations.serialize(backbone.activation) == "relu"


def feed_forward_of(layer: keras.layers.Layer, dtype: str) -> GatedGelu | PlainRelu:
    """Read a layer's weights, where `has_known_form` holds for its backbone."""
    first, last = (frozen(part.kernel, dtype) for part in (layer.input_projector, layer.output_projector))
    scale = frozen(layer.layer_norm.weight, dtype)
    if layer.use_gated_activation:
        return GatedGelu(scale, first, frozen(layer.gate_projector.kernel, dtype), last)
    return PlainRelu(scale, first, last)
