"""The feed-forward blocks of a T5 whose weights never train, gated or not, for every known activation; see `frozen_blocks`."""

from typing import Any, NamedTuple

import keras
from keras import ops

from softprompt_tf.backbones.passes.activations import Activation, activation_of
from softprompt_tf.backbones.passes.frozen_blocks import norm, norm_gradient
from softprompt_tf.backbones.passes.frozen_kernels import back, frozen
from softprompt_tf.typing import Tensor


class KeptGated(NamedTuple):
    """What the gradient needs: states [M, H], what they were normed by [M, 1]; inner state, its share that passes, gate [M, F]."""

    states: Tensor
    inverse: Tensor
    inner: Tensor
    share: Tensor
    gate: Tensor


class Gated(NamedTuple):
    """The block of T5 1.1: the norm's scale [H], input and gate [H, F], output [F, H]."""

    activation: Activation
    scale: Tensor
    input: Tensor
    gate: Tensor
    output: Tensor

    def forward(self, states: Tensor, epsilon: float) -> tuple[Tensor, KeptGated]:
        """Run on states [M, H]; return states [M, H], and what the gradient needs."""
        normed, inverse = norm(states, self.scale, epsilon)
        inner, gate = ops.matmul(normed, self.input), ops.matmul(normed, self.gate)
        share = self.activation.share(inner)
        output = states + ops.matmul(inner * share * gate, self.output)
        return output, KeptGated(states, inverse, inner, share, gate)

    def gradient(self, upstream: Tensor, kept: KeptGated) -> Tensor:
        """Return the gradient [M, H] of the block's input."""
        hidden = back(upstream, self.output)  # [M, F]
        inner, share = kept.inner, kept.share
        slope = self.activation.slope(inner, share)
        normed = back(hidden * kept.gate * slope, self.input) + back(hidden * (inner * share), self.gate)
        return upstream + norm_gradient(normed, kept.states, self.scale, kept.inverse)

    def hidden(self, states: Tensor, epsilon: float) -> Tensor:
        """Return the inner states [M, F] of states [M, H]; automatic differentiation runs through it."""
        normed, _ = norm(states, self.scale, epsilon)
        inner = ops.matmul(normed, self.input)
        return inner * self.activation.share(inner) * ops.matmul(normed, self.gate)

    def project(self, hidden: Tensor) -> Tensor:
        """Return what inner states [M, F] add to states, [M, H]."""
        return ops.matmul(hidden, self.output)


class KeptPlain(NamedTuple):
    """What the gradient needs: states [M, H], what they were normed by [M, 1]; inner state and its share that passes [M, F]."""

    states: Tensor
    inverse: Tensor
    inner: Tensor
    share: Tensor


class Plain(NamedTuple):
    """A block without a gate: the norm's scale [H], input [H, F], output [F, H]."""

    activation: Activation
    scale: Tensor
    input: Tensor
    output: Tensor

    def forward(self, states: Tensor, epsilon: float) -> tuple[Tensor, KeptPlain]:
        """Run on states [M, H]; return states [M, H], and what the gradient needs."""
        normed, inverse = norm(states, self.scale, epsilon)
        inner = ops.matmul(normed, self.input)
        share = self.activation.share(inner)
        return states + ops.matmul(inner * share, self.output), KeptPlain(states, inverse, inner, share)

    def gradient(self, upstream: Tensor, kept: KeptPlain) -> Tensor:
        """Return the gradient [M, H] of the block's input."""
        hidden = back(upstream, self.output) * self.activation.slope(kept.inner, kept.share)
        return upstream + norm_gradient(back(hidden, self.input), kept.states, self.scale, kept.inverse)

    def hidden(self, states: Tensor, epsilon: float) -> Tensor:
        """Return the inner states [M, F] of states [M, H]; automatic differentiation runs through it."""
        inner = ops.matmul(norm(states, self.scale, epsilon)[0], self.input)
        return inner * self.activation.share(inner)

    def project(self, hidden: Tensor) -> Tensor:
        """Return what inner states [M, F] add to states, [M, H]."""
        return ops.matmul(hidden, self.output)


class KeptRelu(NamedTuple):
    """What the gradient needs: states [M, H], what they were normed by [M, 1], and the activation [M, F]."""

    states: Tensor
    inverse: Tensor
    hidden: Tensor


class PlainRelu(NamedTuple):
    """The block of T5 1.0, `Plain` with ReLU, which keeps less: the norm's scale [H], input [H, F], output [F, H]."""

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

    def hidden(self, states: Tensor, epsilon: float) -> Tensor:
        """Return the inner states [M, F] of states [M, H]; automatic differentiation runs through it."""
        return ops.relu(ops.matmul(norm(states, self.scale, epsilon)[0], self.input))

    def project(self, hidden: Tensor) -> Tensor:
        """Return what inner states [M, F] add to states, [M, H]."""
        return ops.matmul(hidden, self.output)


def feed_forward_of(layer: keras.layers.Layer, dtype: str) -> Gated | Plain | PlainRelu:
    """Read a layer's weights, where its activation is one that `activation_of` knows."""
    activation: Any = activation_of(layer.input_projector.activation)
    first, last = (frozen(part.kernel, dtype) for part in (layer.input_projector, layer.output_projector))
    scale = frozen(layer.layer_norm.weight, dtype)
    if layer.use_gated_activation:
        return Gated(activation, scale, first, frozen(layer.gate_projector.kernel, dtype), last)
    if activation.name == "relu":
        return PlainRelu(scale, first, last)
    return Plain(activation, scale, first, last)
