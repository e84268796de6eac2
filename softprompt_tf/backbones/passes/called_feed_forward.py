"""A feed-forward block whose layers are called themselves: for quantized or adapted projections, and other activations."""

from typing import NamedTuple

import keras

from softprompt_tf.typing import Tensor


class CalledFeedForward(NamedTuple):
    """The feed-forward block of a KerasHub T5 layer; automatic differentiation runs through it."""

    layer: keras.layers.Layer

    def forward(self, states: Tensor, epsilon: float) -> tuple[Tensor, None]:
        """Run on states [M, H]; the norm is the layer's own."""
        return states + self.project(self.hidden(states, epsilon)), None

    def hidden(self, states: Tensor, epsilon: float) -> Tensor:
        """Return the inner states [M, F] of states [M, H]."""
        normed = self.layer.layer_norm(states)
        hidden = self.layer.input_projector(normed)
        return hidden * self.layer.gate_projector(normed) if self.layer.use_gated_activation else hidden

    def project(self, hidden: Tensor) -> Tensor:
        """Return what inner states [M, F] add to states, [M, H]."""
        return self.layer.output_projector(hidden)
