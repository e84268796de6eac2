"""A feed-forward block whose layers are called themselves: for quantized or adapted projections, and other activations."""

from typing import NamedTuple

import keras

from softprompt_tf.typing import Tensor


class CalledFeedForward(NamedTuple):
    """The feed-forward block of a KerasHub T5 layer; automatic differentiation runs through it."""

    layer: keras.layers.Layer

    def forward(self, states: Tensor, epsilon: float) -> tuple[Tensor, None]:
        """Run on states [M, H]; the norm is the layer's own."""
        normed = self.layer.layer_norm(states)
        hidden = self.layer.input_projector(normed)
        if self.layer.use_gated_activation:
            hidden = hidden * self.layer.gate_projector(normed)
        return states + self.layer.output_projector(hidden), None
