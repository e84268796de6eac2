"""A frozen T5's passes as prompt tuning needs them: gradients of embeddings and encoder output, and of no weight.

Whole stacks run here, forward and backward, on the backbone's own variables and through none of its layers; the numbers are
the layers' up to rounding. There is no dropout.
"""

from typing import Any

import keras_hub
from keras import ops

from softprompt_tf.t5 import frozen_blocks as blocks
from softprompt_tf.t5.absorbed_attention import AbsorbedAttention, is_cheaper
from softprompt_tf.t5.frozen_stacks import CrossAttention, DecoderStack, EncoderStack, FrozenLayer
from softprompt_tf.t5.known_layers import changed_part
from softprompt_tf.t5.projected_attention import ProjectedAttention
from softprompt_tf.typing import Tensor

_MASKED = -1e9


class FrozenForward:
    """Passes through the two stacks of one backbone.

    Args:
      backbone: a `keras_hub.models.T5Backbone`; `is_able` says whether it can run here.

    Example:
      >>> forward = FrozenForward(t5.backbone)
      >>> encoder_output = forward.encode(embeddings, padding_mask)                      # [B, S, H]
      >>> states = forward.decode(token_embeddings, bias, encoder_output, padding_mask)  # [B, U, H]
    """

    def __init__(self, backbone: keras_hub.models.T5Backbone):
        self._backbone = backbone
        self._dtype = str(backbone.dtype_policy.compute_dtype)
        self._heads = int(backbone.num_heads)
        self._width = int(backbone.key_value_dim or backbone.hidden_dim // backbone.num_heads)
        self._epsilon = float(backbone.encoder_layer_norm.epsilon)

    @property
    def is_able(self) -> bool:
        """Whether the backbone, as it is now, has KerasHub's own layers, unchanged, with an activation that is known here."""
        return changed_part(self._backbone) is None

    def is_short(self, num_queries: Any, source_length: Any) -> Any:
        """Say whether U tokens on S positions are few enough for `decode`: of numbers a bool, of tensors a tensor."""
        return is_cheaper(num_queries, source_length, int(self._backbone.hidden_dim), self._width)

    def encode(self, embeddings: Tensor, padding_mask: Tensor) -> Tensor:
        """Run the encoder.

        Args:
          embeddings: [B, S, H] in the compute dtype.
          padding_mask: [B, S], 1 = a position to attend to.

        Returns:
          The encoder output [B, S, H].
        """
        output, _ = self._encoder(embeddings, padding_mask).forward(_flat(embeddings))
        return ops.reshape(output, ops.shape(embeddings))

    def encode_for_tuning(
        self, embeddings: Tensor, padding_mask: Tensor, *, num_moving: int | None = None, recompute: bool = False
    ) -> Tensor:
        """Run the encoder as `encode` does, with a gradient of its own.

        Args:
          num_moving: how many rows in front have a gradient; that of the others is given as 0. Default: all.
          recompute: keep each layer's input only and run the layer again for its gradient.
        """
        encoder = self._encoder(embeddings, padding_mask)._replace(recompute=recompute)

        @ops.custom_gradient  # type: ignore[untyped-decorator]
        def run(embeddings: Tensor) -> tuple[Tensor, object]:
            output, kept = encoder.forward(_flat(embeddings))

            def grad(*upstream: Tensor) -> Tensor:
                return ops.reshape(encoder.gradient(_flat(upstream[0]), kept, num_moving), ops.shape(embeddings))

            return ops.reshape(output, ops.shape(embeddings)), grad

        return run(embeddings)

    def decode(self, embeddings: Tensor, bias: Tensor, encoder_output: Tensor, padding_mask: Tensor) -> Tensor:
        """Run the decoder with absorbed cross-attention.

        Args:
          embeddings: [B, U, H] of the decoder's tokens, in the compute dtype.
          bias: [1, N, U, U], of positions and of which token may see which.
          encoder_output: [B, S, H].
          padding_mask: [B, S], 1 = a position to attend to.

        Returns:
          Decoder states [B, U, H].
        """
        decoder = self._decoder(embeddings, bias, padding_mask, AbsorbedAttention)
        output, _ = decoder.forward(encoder_output)
        return ops.reshape(output, ops.shape(embeddings))

    def decode_for_tuning(
        self,
        embeddings: Tensor,
        bias: Tensor,
        encoder_output: Tensor,
        padding_mask: Tensor,
        *,
        is_short: bool = True,
        recompute: bool = False,
    ) -> Tensor:
        """Run the decoder as `decode` does, with a gradient of its own, which reaches `encoder_output` alone.

        Args:
          is_short: whether cross-attention is absorbed; else it has keys and values.
          recompute: keep each layer's input only and run the layer again for its gradient.
        """
        kind = AbsorbedAttention if is_short else ProjectedAttention
        decoder = self._decoder(ops.stop_gradient(embeddings), bias, padding_mask, kind)._replace(recompute=recompute)

        @ops.custom_gradient  # type: ignore[untyped-decorator]
        def run(encoder_output: Tensor) -> tuple[Tensor, object]:
            output, kept = decoder.forward(encoder_output)

            def grad(*upstream: Tensor) -> Tensor:
                return decoder.gradient(_flat(upstream[0]), kept, encoder_output)

            return ops.reshape(output, ops.shape(embeddings)), grad

        return run(encoder_output)

    def _encoder(self, embeddings: Tensor, padding_mask: Tensor) -> EncoderStack:
        shape = self._shape(embeddings)
        return EncoderStack(
            bias=self._encoder_bias(padding_mask, shape.length),
            layers=[FrozenLayer.of(layer, self._dtype) for layer in self._backbone.encoder_transformer_layers],
            scale=blocks.frozen(self._backbone.encoder_layer_norm.weight, self._dtype),
            shape=shape,
            epsilon=self._epsilon,
        )

    def _decoder(self, embeddings: Tensor, bias: Tensor, padding_mask: Tensor, kind: CrossAttention) -> DecoderStack:
        return DecoderStack(
            states=_flat(embeddings),
            bias=ops.cast(ops.stop_gradient(bias), self._dtype),
            source_bias=ops.cast(mask_bias(padding_mask)[:, None, :], self._dtype),
            layers=[FrozenLayer.of(layer, self._dtype, kind) for layer in self._backbone.decoder_transformer_layers],
            scale=blocks.frozen(self._backbone.decoder_layer_norm.weight, self._dtype),
            shape=self._shape(embeddings),
            epsilon=self._epsilon,
        )

    def _encoder_bias(self, padding_mask: Tensor, length: Any) -> Tensor:
        """Return [B, N, S, S]: the bias of positions, and -1e9 where nothing may be attended to."""
        first = self._backbone.encoder_transformer_layers[0].self_attention
        positions = ops.cast(first.compute_bias(length, length), "float32")  # [1, N, S, S]
        bias = positions + mask_bias(padding_mask)[:, None, None, :]
        return ops.cast(ops.stop_gradient(bias), self._dtype)

    def _shape(self, embeddings: Tensor) -> blocks.Shape:
        batch, length = ops.shape(embeddings)[:2]
        return blocks.Shape(batch, length, self._heads, self._width)


def causal_bias(backbone: keras_hub.models.T5Backbone, length: Any) -> Tensor:
    """Return the decoder's self-attention bias float32 [N, U, U], the causal mask in it: row u is for the query at u."""
    first = backbone.decoder_transformer_layers[0].self_attention
    bias = ops.cast(first.compute_bias(length, length), "float32")[0]  # [N, U, U]
    positions = ops.arange(length)
    return bias + mask_bias(positions[None, :] <= positions[:, None])


def mask_bias(mask: Tensor) -> Tensor:
    """Turn a mask, 1 = visible, into what is added to attention scores in float32."""
    return (1.0 - ops.cast(mask, "float32")) * _MASKED


def _flat(states: Tensor) -> Tensor:
    """[B, S, H] to [B * S, H]."""
    return ops.reshape(states, (-1, states.shape[-1]))
