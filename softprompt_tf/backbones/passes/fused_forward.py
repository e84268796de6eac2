"""The forward pass of a T5 in few large operations, for training the complete model.

It reads the backbone's variables and runs none of its layers. Projections of one input are one matrix product, layer
norms lend their scales to the matrices behind them, biases and masks are added up once per stack, and GELU and RMS norm
bring gradients of their own, in fewer passes over memory than automatic ones. The numbers agree with the layers' up to
the rounding of the compute dtype. There is no dropout.

States are [B * T, H] throughout, and a normed state still lacks its norm's scale: the matrix behind it brings that.
"""

from typing import Any

import keras
import keras_hub
from keras import ops

from softprompt_tf.backbones.passes.activations import Activation, activation_of
from softprompt_tf.backbones.passes.attention import attend, causal_bias, encoder_bias, mask_bias
from softprompt_tf.backbones.passes.known_layers import check_plain
from softprompt_tf.backbones.sizes import head_dim_of
from softprompt_tf.typing import Tensor

_GELU_SCALE = 0.7978845608028654  # sqrt(2 / pi)
_GELU_CUBIC = 0.044715


class FusedForward:
    """The forward pass of one backbone.

    Args:
      backbone: a `keras_hub.models.T5Backbone` with KerasHub's own layers. Gradients reach its variables.
      dtype: what activations and matrix products are computed in, "float32" or "bfloat16".

    Raises:
      BackboneError: if a layer is quantized, patched, subclassed or has LoRA weights.

    Example:
      >>> forward = FusedForward(backbone, dtype="bfloat16")
      >>> encoded = forward.encode(encoder_token_ids, encoder_padding_mask)                 # [B * T, H]
      >>> states = forward.decode(decoder_token_ids, encoded, encoder_padding_mask)         # [B * U, H]
      >>> logits = forward.logits(states)                                                   # [B * U, V]
    """

    def __init__(self, backbone: keras_hub.models.T5Backbone, *, dtype: str = "float32"):
        self.backbone = backbone
        self.dtype = dtype
        self._num_heads = int(backbone.num_heads)
        self._head_dim = head_dim_of(backbone)
        check_plain(backbone, doing="Training all weights")

    def encode(self, token_ids: Tensor, padding_mask: Tensor) -> Tensor:
        """Run the encoder: ids int [B, T] and mask [B, T], 1 = a token, to normed states [B * T, H]."""
        length = ops.shape(token_ids)[1]
        layers = self.backbone.encoder_transformer_layers
        bias = ops.cast(encoder_bias(self.backbone, padding_mask), self.dtype)  # [B, N, T, T]
        states = self._embed(token_ids)
        for layer in layers:
            states = self._attend_to_self(layer, states, bias, length)
            states = self._feed_forward(layer, states)
        return self._normed(states)

    def decode(self, token_ids: Tensor, encoded: Tensor, encoder_padding_mask: Tensor) -> Tensor:
        """Run the decoder on whole targets.

        Args:
          token_ids: int [B, U], the start id and then the targets, shifted by one; padding stands behind them.
          encoded: normed states [B * T, H], as `encode` returns them.
          encoder_padding_mask: [B, T], 1 = a token.

        Returns:
          Normed states [B * U, H].
        """
        length = ops.shape(token_ids)[1]
        layers = self.backbone.decoder_transformer_layers
        bias = ops.cast(causal_bias(self.backbone, length)[None], self.dtype)  # [1, N, U, U]
        source_bias = ops.cast(mask_bias(encoder_padding_mask)[:, None, None, :], self.dtype)  # [B, 1, 1, T]
        states = self._embed(token_ids)
        for layer in layers:
            states = self._attend_to_self(layer, states, bias, length)
            states = self._attend_to_source(layer, states, length, encoded, source_bias)
            states = self._feed_forward(layer, states)
        return self._normed(states)

    def logits(self, states: Tensor) -> Tensor:
        """Map rows of normed decoder states [M, H] to logits float32 [M, V]; a tied head scales them by H^-0.5 first."""
        scale = ops.convert_to_tensor(self.backbone.decoder_layer_norm.weight)
        embedding = self.backbone.token_embedding
        if self.backbone.tie_embedding_weights:
            scale = scale * float(self.backbone.hidden_dim) ** -0.5
            head = ops.transpose(ops.convert_to_tensor(embedding.embeddings))
        else:
            head = ops.convert_to_tensor(embedding.reverse_embeddings)
        return ops.cast(ops.matmul(states, ops.cast(head * scale[:, None], self.dtype)), "float32")

    # === The blocks of a layer ===

    def _embed(self, token_ids: Tensor) -> Tensor:
        """Look up ids [B, T] as states [B * T, H]."""
        table = ops.convert_to_tensor(self.backbone.token_embedding.embeddings)
        return ops.cast(ops.take(table, ops.reshape(token_ids, (-1,)), axis=0), self.dtype)

    def _attend_to_self(self, layer: keras.layers.Layer, states: Tensor, bias: Tensor, length: Tensor) -> Tensor:
        attention = layer.self_attention
        projectors = (attention.query_projector, attention.key_projector, attention.value_projector)
        projected = self._project(self._normed(states), layer.self_attention_layer_norm, *projectors)
        query, keys, values = (self._heads(part, length) for part in ops.split(projected, 3, axis=-1))
        return states + self._project(_attended(query, keys, values, bias), None, attention.output_projector)

    def _attend_to_source(
        self, layer: keras.layers.Layer, states: Tensor, length: Tensor, encoded: Tensor, source_bias: Tensor
    ) -> Tensor:
        attention = layer.cross_attention
        source_length = ops.shape(source_bias)[3]
        query = self._project(self._normed(states), layer.cross_attention_layer_norm, attention.query_projector)
        projectors = (attention.key_projector, attention.value_projector)
        projected = self._project(encoded, self.backbone.encoder_layer_norm, *projectors)
        keys, values = (self._heads(part, source_length) for part in ops.split(projected, 2, axis=-1))
        attended = _attended(self._heads(query, length), keys, values, source_bias)
        return states + self._project(attended, None, attention.output_projector)

    def _feed_forward(self, layer: keras.layers.Layer, states: Tensor) -> Tensor:
        normed, function = self._normed(states), layer.input_projector.activation
        if not layer.use_gated_activation:
            hidden = function(self._project(normed, layer.layer_norm, layer.input_projector))
        else:
            both = self._project(normed, layer.layer_norm, layer.input_projector, layer.gate_projector)
            hidden = _gated(both, function)
        return states + self._project(hidden, None, layer.output_projector)

    def _project(self, inputs: Tensor, norm: keras.layers.Layer | None, *projectors: keras.layers.Dense) -> Tensor:
        """Multiply by the kernels of `projectors` side by side, times the scale of the norm in front of them."""
        kernels = [ops.convert_to_tensor(projector.kernel) for projector in projectors]
        kernel = ops.concatenate(kernels, axis=-1) if len(kernels) > 1 else kernels[0]
        if norm is not None:
            kernel = kernel * ops.convert_to_tensor(norm.weight)[:, None]
        return ops.matmul(inputs, ops.cast(kernel, self.dtype))

    def _heads(self, projected: Tensor, length: Tensor) -> Tensor:
        """Split [B * T, N * D] into heads [B, N, T, D]."""
        return ops.transpose(ops.reshape(projected, (-1, length, self._num_heads, self._head_dim)), (0, 2, 1, 3))

    def _normed(self, states: Tensor) -> Tensor:
        return _rms_normed(states, float(self.backbone.encoder_layer_norm.epsilon))


def _attended(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """Attend from [B, N, U, D] to [B, N, T, D]; return [B * U, N * D]."""
    attended = ops.transpose(attend(query, keys, values, bias)[0], (0, 2, 1, 3))  # [B, U, N, D]
    return ops.reshape(attended, (-1, attended.shape[2] * attended.shape[3]))


def _rms_normed(states: Tensor, epsilon: float) -> Tensor:
    """Divide every state by its root mean square, which is taken in float32."""

    @ops.custom_gradient  # type: ignore[untyped-decorator]
    def normed(x: Tensor) -> tuple[Tensor, object]:
        mean_square = ops.mean(ops.square(ops.cast(x, "float32")), axis=-1, keepdims=True)
        inverse = ops.cast(ops.rsqrt(mean_square + epsilon), x.dtype)
        y = x * inverse

        def grad(*upstream: Tensor) -> Tensor:
            (dy,) = upstream
            return inverse * (dy - y * ops.mean(dy * y, axis=-1, keepdims=True))

        return y, grad

    return normed(states)


def _gated(both: Tensor, function: Any) -> Tensor:
    """Return activation(a) * b of [M, 2 F] = a next to b, where the activation has a fast gradient, with that."""
    known = activation_of(function)
    if known is not None and known.name == "gelu_approximate":
        return _gelu_gated(both)
    if known is not None and known.name != "relu":
        return _share_gated(both, known)
    activated, linear = ops.split(both, 2, axis=-1)
    return function(activated) * linear


def _share_gated(both: Tensor, activation: Activation) -> Tensor:
    """Return activation(a) * b of [M, 2 F] = a next to b."""

    @ops.custom_gradient  # type: ignore[untyped-decorator]
    def gated(both: Tensor) -> tuple[Tensor, object]:
        a, b = ops.split(both, 2, axis=-1)
        share = activation.share(a)

        def grad(*upstream: Tensor) -> Tensor:
            (dy,) = upstream
            return ops.concatenate([dy * b * activation.slope(a, share), dy * (a * share)], axis=-1)

        return a * share * b, grad

    return gated(both)


def _gelu_gated(both: Tensor) -> Tensor:
    """Return gelu(a) * b of [M, 2 F] = a next to b; GELU in its tanh form."""

    @ops.custom_gradient  # type: ignore[untyped-decorator]
    def gated(both: Tensor) -> tuple[Tensor, object]:
        a, b = ops.split(both, 2, axis=-1)
        squared = a * a
        half = 0.5 * ops.tanh(a * (_GELU_SCALE + (_GELU_SCALE * _GELU_CUBIC) * squared)) + 0.5
        gelu = a * half

        def grad(*upstream: Tensor) -> Tensor:
            (dy,) = upstream
            slope = half + (gelu - gelu * half) * (2.0 * _GELU_SCALE + (6.0 * _GELU_SCALE * _GELU_CUBIC) * squared)
            return ops.concatenate([dy * b * slope, dy * gelu], axis=-1)

        return gelu * b, grad

    return gated(both)
