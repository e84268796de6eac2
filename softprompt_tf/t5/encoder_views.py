"""How the decoder looks at the encoder output, step by step: as keys and values made once, or as it is, with absorbed projections.

Keys and values cost a projection of all S positions before the first token, and little at each; they go through KerasHub's
layers, so that dtype and quantization hold. The absorbed way costs nothing before and more at each token, which pays for the
few tokens of most answers; `absorbed_attention.py` has its arithmetic, `by_cost` chooses.
"""

from typing import NamedTuple, Protocol

from keras import ops

from softprompt_tf.t5.absorbed_attention import AbsorbedAttention
from softprompt_tf.t5.attention_by_head import attend
from softprompt_tf.t5.frozen_blocks import Shape, join_heads, split_heads
from softprompt_tf.t5.frozen_forward import mask_bias
from softprompt_tf.t5.frozen_t5 import FrozenT5
from softprompt_tf.typing import Tensor


class EncoderView(Protocol):
    """What a step of the decoder asks of the encoder output."""

    def attend(self, t5: FrozenT5, layer: int, states: Tensor, shape: Shape) -> Tensor:
        """Add one layer's attention to the encoder output to states [B * Q, H]; the Q of a row share its encoder output.

        Args:
          shape: of the states, Q positions.
        """


class EncoderKeyValues(NamedTuple):
    """The encoder output as the decoder's layers see it, projected once.

    Args:
      keys, values: one [B, N, S, D] per layer.
      bias: [B, 1, 1, S], 0 where a position may be attended to and -1e9 where not.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    bias: Tensor

    def attend(self, t5: FrozenT5, layer: int, states: Tensor, shape: Shape) -> Tensor:
        """As `EncoderView.attend`."""
        block = t5.backbone.decoder_transformer_layers[layer]
        query = block.cross_attention.query_projector(block.cross_attention_layer_norm(states))
        attended = attend(split_heads(query, shape), self.keys[layer], self.values[layer], self.bias)
        return states + block.cross_attention.output_projector(join_heads(attended, shape))


class AbsorbedEncoder(NamedTuple):
    """The encoder output as it is, and the weights that look at it; for a T5 whose `forward.is_able`.

    Args:
      encoder_output: [B, S, H].
      bias: [B, 1, S], 0 where a position may be attended to and -1e9 where not.
      blocks: the weights of every layer's cross-attention.
      epsilon: of the norms.
    """

    encoder_output: Tensor
    bias: Tensor
    blocks: tuple[AbsorbedAttention, ...]
    epsilon: float

    def attend(self, t5: FrozenT5, layer: int, states: Tensor, shape: Shape) -> Tensor:
        """As `EncoderView.attend`."""
        return self.blocks[layer].forward(states, self.encoder_output, self.bias, shape, self.epsilon)[0]


def project_encoder_output(t5: FrozenT5, encoder_output: Tensor, padding_mask: Tensor) -> EncoderKeyValues:
    """Project an encoder output [B, S, H] with mask [B, S] to every decoder layer's keys and values."""
    blocks = [layer.cross_attention for layer in t5.backbone.decoder_transformer_layers]
    batch, length = ops.shape(encoder_output)[:2]
    shape = Shape(batch, length, t5.num_heads, t5.head_dim)
    positions = ops.reshape(encoder_output, (-1, t5.hidden_dim))
    return EncoderKeyValues(
        keys=tuple(split_heads(block.key_projector(positions), shape) for block in blocks),
        values=tuple(split_heads(block.value_projector(positions), shape) for block in blocks),
        bias=mask_bias(padding_mask)[:, None, None, :],
    )


def absorb_encoder_output(t5: FrozenT5, encoder_output: Tensor, padding_mask: Tensor) -> AbsorbedEncoder:
    """Take an encoder output [B, S, H] with mask [B, S] as it is."""
    layers = t5.backbone.decoder_transformer_layers
    return AbsorbedEncoder(
        encoder_output=encoder_output,
        bias=ops.cast(mask_bias(padding_mask)[:, None, :], t5.compute_dtype),
        blocks=tuple(
            AbsorbedAttention.of(layer.cross_attention_layer_norm, layer.cross_attention, t5.compute_dtype)
            for layer in layers
        ),
        epsilon=float(t5.backbone.encoder_layer_norm.epsilon),
    )
