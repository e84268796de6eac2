"""A T5 that KerasHub's own class cannot express: other relative-position buckets, or fewer decoder layers than encoder layers."""

from typing import Any

import keras
import keras_hub
from keras.layers import ReversibleEmbedding
from keras_hub.src.models.t5.t5_layer_norm import T5LayerNorm
from keras_hub.src.models.t5.t5_transformer_layer import T5TransformerLayer

T5_BUCKETS = 32
T5_MAX_DISTANCE = 128


@keras.saving.register_keras_serializable(package="softprompt_tf")
class T5VariantBackbone(keras_hub.models.T5Backbone):
    """`keras_hub.models.T5Backbone` with two more choices; layers, weights and presets are the same otherwise.

    KerasHub 0.32 fixes 32 buckets up to a distance of 128, and gives both stacks the same depth.

    Args:
      num_decoder_layers: layers of the decoder. Default: as many as the encoder's `num_layers`.
      relative_attention_buckets: rows of the table of relative-position biases.
      relative_attention_max_distance: tokens; positions further apart share a bucket.
      The others: as in `keras_hub.models.T5Backbone`.

    Call arguments, Returns: as in `keras_hub.models.T5Backbone`.

    Example:
      `T5VariantBackbone(384, 12, 6, 1472, 3584, key_value_dim=64, num_decoder_layers=4)` has the shape of byT5 Small.

    Source: Raffel et al. 2020, arXiv:1910.10683, section 2.1 (buckets); Xue et al. 2022, arXiv:2105.13626 (deep encoder).
    """

    def __init__(
        self,
        vocabulary_size: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        intermediate_dim: int,
        key_value_dim: int | None = None,
        dropout: float = 0.1,
        activation: Any = "relu",
        use_gated_activation: bool = True,
        layer_norm_epsilon: float = 1e-6,
        tie_embedding_weights: bool = True,
        num_decoder_layers: int | None = None,
        relative_attention_buckets: int = T5_BUCKETS,
        relative_attention_max_distance: int = T5_MAX_DISTANCE,
        dtype: Any = None,
        **kwargs: Any,
    ):
        # Names and order of layers are KerasHub's, so that files of weights and fingerprints mean the same for both classes.
        self.token_embedding = ReversibleEmbedding(
            vocabulary_size, hidden_dim, tie_weights=tie_embedding_weights, dtype=dtype, name="token_embedding"
        )

        def stack(kind: str, depth: int) -> list[T5TransformerLayer]:
            layers = [
                T5TransformerLayer(
                    is_decoder=kind == "decoder",
                    hidden_dim=hidden_dim,
                    intermediate_dim=intermediate_dim,
                    key_value_dim=key_value_dim or hidden_dim // num_heads,
                    dropout=dropout,
                    activation=activation,
                    layer_norm_epsilon=layer_norm_epsilon,
                    num_heads=num_heads,
                    use_gated_activation=use_gated_activation,
                    use_relative_attention_bias=k == 0,
                    dtype=dtype,
                    name=f"transformer_{kind}_layer_{k}",
                )
                for k in range(depth)
            ]
            _set_buckets(layers[0].self_attention, relative_attention_buckets, relative_attention_max_distance)
            return layers

        num_decoder_layers = num_decoder_layers or num_layers
        self.encoder_embedding_dropout = keras.layers.Dropout(dropout, dtype=dtype, name="encoder_embedding_dropout")
        self.encoder_transformer_layers = stack("encoder", num_layers)
        self.encoder_layer_norm = T5LayerNorm(layer_norm_epsilon, dtype=dtype, name="encoder_output_layer_norm")
        self.encoder_dropout = keras.layers.Dropout(dropout, dtype=dtype, name="encoder_output_dropout")
        self.decoder_embedding_dropout = keras.layers.Dropout(dropout, dtype=dtype, name="decoder_embedding_dropout")
        self.decoder_transformer_layers = stack("decoder", num_decoder_layers)
        self.decoder_layer_norm = T5LayerNorm(layer_norm_epsilon, dtype=dtype, name="decoder_output_layer_norm")
        self.decoder_dropout = keras.layers.Dropout(dropout, dtype=dtype, name="decoder_output_dropout")
        inputs, outputs = self._connect()
        # KerasHub's T5 constructor would build both stacks again; the one below it takes the finished graph.
        keras_hub.models.Backbone.__init__(self, inputs, outputs=outputs, dtype=dtype, **kwargs)

        # === Config ===
        self.vocabulary_size = vocabulary_size
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.hidden_dim = hidden_dim
        self.intermediate_dim = intermediate_dim
        self.key_value_dim = key_value_dim
        self.dropout = dropout
        self.activation = keras.activations.get(activation)
        self.use_gated_activation = use_gated_activation
        self.layer_norm_epsilon = layer_norm_epsilon
        self.tie_embedding_weights = tie_embedding_weights
        self.num_decoder_layers = num_decoder_layers
        self.relative_attention_buckets = relative_attention_buckets
        self.relative_attention_max_distance = relative_attention_max_distance

    def _connect(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the functional model's inputs [B, T] and [B, U], and its two outputs [B, T, H] and [B, U, H]."""
        names = ("encoder_token_ids", "encoder_padding_mask", "decoder_token_ids", "decoder_padding_mask")
        inputs = {name: keras.Input(shape=(None,), dtype="int32", name=name) for name in names}
        encoder_mask = inputs["encoder_padding_mask"][:, None, :]
        states = self.encoder_embedding_dropout(self.token_embedding(inputs["encoder_token_ids"]))
        bias = None
        for layer in self.encoder_transformer_layers:
            states, bias = layer(states, attention_mask=encoder_mask, position_bias=bias, use_causal_mask=False)
        encoded = self.encoder_dropout(self.encoder_layer_norm(states))
        states = self.decoder_embedding_dropout(self.token_embedding(inputs["decoder_token_ids"]))
        bias = None
        for layer in self.decoder_transformer_layers:
            states, bias = layer(
                states,
                attention_mask=inputs["decoder_padding_mask"][:, None, :],
                position_bias=bias,
                encoder_hidden_states=encoded,
                encoder_attention_mask=encoder_mask,
                use_causal_mask=True,
            )
        decoded = self.decoder_dropout(self.decoder_layer_norm(states))
        return inputs, {"encoder_sequence_output": encoded, "decoder_sequence_output": decoded}

    def get_config(self) -> dict[str, Any]:
        own = ("num_decoder_layers", "relative_attention_buckets", "relative_attention_max_distance")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


@keras.saving.register_keras_serializable(package="softprompt_tf")
class T5VariantTokenizer(keras_hub.models.T5Tokenizer):
    """`keras_hub.models.T5Tokenizer` for presets of a `T5VariantBackbone`: KerasHub looks for it by the backbone's class.

    Args, Call arguments, Returns: as in `keras_hub.models.T5Tokenizer`.

    Example:
      `T5VariantTokenizer.from_preset("byt5_small")`
    """

    backbone_cls = T5VariantBackbone


def _set_buckets(attention: Any, buckets: int, max_distance: int) -> None:
    """Give an attention layer that is not built yet a table of its own size."""
    attention.relative_attention_max_distance = max_distance
    if buckets == attention.relative_attention_buckets:
        return
    attention.relative_attention_buckets = buckets
    del attention.relative_attention_bias
    attention.relative_attention_bias = attention.add_weight(
        name="embeddings", shape=[buckets, attention.num_heads], initializer="zeros"
    )
