"""T5's layers and backbones built from their sizes, so that a backbone is there in a tenth of the time.

KerasHub's layers have no `build` of their own: Keras traces each of them twice, once to find what weights it makes and once to
find what shapes it returns. Both are known.
"""

from collections.abc import Mapping
from typing import Any

import keras
import keras_hub
from keras.layers import ReversibleEmbedding
from keras_hub.src.models.t5.t5_layer_norm import T5LayerNorm
from keras_hub.src.models.t5.t5_multi_head_attention import T5MultiHeadAttention
from keras_hub.src.models.t5.t5_transformer_layer import T5TransformerLayer as TracedTransformerLayer


class T5TransformerLayer(TracedTransformerLayer):
    """KerasHub's layer, which is built, and whose outputs are told, without running its code.

    It has the name of KerasHub's class, as the names of weights in a file come from the names of classes.

    Args, Call arguments, Returns: as in KerasHub's `T5TransformerLayer`.

    Example:
      `T5TransformerLayer(False, 16, 32, 8, 0.0, "relu", 1e-6, 2).build((None, None, 16))`
    """

    def build(self, input_shape: Any) -> None:
        # In the order in which the layer's code meets the blocks, so that weights have the same order.
        self.self_attention_layer_norm.build(input_shape)
        _build_attention(self.self_attention)
        if self.is_decoder:
            self.cross_attention_layer_norm.build(input_shape)
            _build_attention(self.cross_attention)
        self.layer_norm.build(input_shape)
        self.input_projector.build(input_shape)
        if self.use_gated_activation:
            self.gate_projector.build(input_shape)
        self.output_projector.build((*input_shape[:-1], self.input_projector.units))
        self.built = True

    def compute_output_spec(self, hidden_states: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the states [B, T, H], and the position bias with the mask in it [B, N, T, T]."""
        if args or kwargs.get("self_attention_cache") is not None:
            return super().compute_output_spec(hidden_states, *args, **kwargs)
        states = keras.KerasTensor(hidden_states.shape, dtype=self.compute_dtype)
        bias = kwargs.get("position_bias")
        if bias is not None:
            return states, keras.KerasTensor(bias.shape, dtype=bias.dtype)
        batch, length = hidden_states.shape[:2]
        is_masked = kwargs.get("attention_mask") is not None or kwargs.get("use_causal_mask")
        shape = (batch if is_masked else 1, self.self_attention.num_heads, length, length)
        return states, keras.KerasTensor(shape, dtype=self.compute_dtype)


def _build_attention(attention: T5MultiHeadAttention) -> None:
    """Build the four projections in the order in which the layer's code meets them."""
    states = (None, None, attention.hidden_dim)  # of the decoder and of the encoder alike
    with attention._open_name_scope():
        for projector in (attention.query_projector, attention.key_projector, attention.value_projector):
            projector.build(states)
        attention.output_projector.build((None, None, attention.inner_dim))
    attention.build(states)


def spare_tracing(backbone: keras_hub.models.T5Backbone) -> None:
    """Make KerasHub's own layers of a backbone layers that tell their outputs, in place; another's subclasses stay.

    Else Keras traces each of them for every model that is built on the backbone, for a tenth of a second and more.
    """
    for layer in (*backbone.encoder_transformer_layers, *backbone.decoder_transformer_layers):
        if type(layer) is TracedTransformerLayer and layer.built:
            layer.__class__ = T5TransformerLayer


def plain_backbone(
    vocabulary_size: int,
    num_layers: int,
    num_heads: int,
    hidden_dim: int,
    intermediate_dim: int,
    **config: Any,
) -> keras_hub.models.T5Backbone:
    """Return a `keras_hub.models.T5Backbone` as its constructor does, with layers that are built without tracing.

    It is an object of KerasHub's own class, so that whatever is saved of it loads without this library.

    Args:
      vocabulary_size, num_layers, num_heads, hidden_dim, intermediate_dim: as in `keras_hub.models.T5Backbone`.
      **config: the others of its arguments.
    """
    backbone = keras_hub.models.T5Backbone.__new__(keras_hub.models.T5Backbone)
    assemble(backbone, vocabulary_size, num_layers, num_heads, hidden_dim, intermediate_dim, **config)
    return backbone


def backbone_like(backbone: keras_hub.models.T5Backbone) -> keras_hub.models.T5Backbone:
    """Return a backbone of the same class and config, with new weights."""
    return backbone_from_config(type(backbone), backbone.get_config())


def deserialized_backbone(config: Mapping[str, Any], custom_objects: Any = None) -> keras_hub.models.T5Backbone:
    """Return the backbone that `keras.saving.serialize_keras_object` described, as Keras does."""
    if config.get("registered_name") == keras.saving.get_registered_name(keras_hub.models.T5Backbone):
        return backbone_from_config(keras_hub.models.T5Backbone, config["config"])
    return keras.saving.deserialize_keras_object(config, custom_objects=custom_objects)


def backbone_from_config(
    kind: type[keras_hub.models.T5Backbone], config: Mapping[str, Any]
) -> keras_hub.models.T5Backbone:
    """Return a backbone as `kind.from_config(config)` does."""
    if kind is not keras_hub.models.T5Backbone:
        return kind.from_config(dict(config))
    return plain_backbone(**{name: _plain_value(name, value) for name, value in config.items()})


def _plain_value(name: str, value: Any) -> Any:
    """Return a value of a backbone's config as its constructor takes it."""
    is_serialized = isinstance(value, Mapping) and name in ("activation", "dtype")
    return keras.saving.deserialize_keras_object(value) if is_serialized else value


def assemble(
    backbone: keras_hub.models.T5Backbone,
    vocabulary_size: int,
    num_layers: int,
    num_heads: int,
    hidden_dim: int,
    intermediate_dim: int,
    *,
    key_value_dim: int | None = None,
    dropout: float = 0.1,
    activation: Any = "relu",
    use_gated_activation: bool = True,
    layer_norm_epsilon: float = 1e-6,
    tie_embedding_weights: bool = True,
    num_decoder_layers: int | None = None,
    buckets: tuple[int, int] | None = None,
    dtype: Any = None,
    **kwargs: Any,
) -> None:
    """Do the work of the constructor of a `keras_hub.models.T5Backbone`.

    Args:
      backbone: a new object of that class or of a subclass.
      num_decoder_layers: Default: as many as `num_layers`.
      buckets: rows of the tables of relative-position biases, and the distance in tokens beyond which positions share a
        bucket. Default: KerasHub's.
      The others: as in `keras_hub.models.T5Backbone`.
    """
    # Names and order of layers are KerasHub's, so that files of weights and fingerprints mean the same.
    backbone.token_embedding = ReversibleEmbedding(
        vocabulary_size,
        hidden_dim,
        tie_weights=tie_embedding_weights,
        embeddings_initializer=keras.initializers.TruncatedNormal(1.0),
        dtype=dtype,
        name="token_embedding",
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
        if buckets is not None:
            _set_buckets(layers[0].self_attention, *buckets)
        return layers

    for kind, depth in (("encoder", num_layers), ("decoder", num_decoder_layers or num_layers)):
        norm = T5LayerNorm(layer_norm_epsilon, dtype=dtype, name=f"{kind}_output_layer_norm")
        setattr(backbone, f"{kind}_embedding_dropout", _dropout(dropout, dtype, f"{kind}_embedding_dropout"))
        setattr(backbone, f"{kind}_transformer_layers", stack(kind, depth))
        setattr(backbone, f"{kind}_layer_norm", norm)
        setattr(backbone, f"{kind}_dropout", _dropout(dropout, dtype, f"{kind}_output_dropout"))
    inputs, outputs = _connect(backbone)
    # KerasHub's T5 constructor would build both stacks again; the one below it takes the finished graph.
    keras_hub.models.Backbone.__init__(backbone, inputs, outputs=outputs, dtype=dtype, **kwargs)

    # === Config ===
    backbone.vocabulary_size = vocabulary_size
    backbone.hidden_dim = hidden_dim
    backbone.intermediate_dim = intermediate_dim
    backbone.num_layers = num_layers
    backbone.num_heads = num_heads
    backbone.activation = keras.activations.get(activation)
    backbone.key_value_dim = key_value_dim
    backbone.dropout = dropout
    backbone.use_gated_activation = use_gated_activation
    backbone.layer_norm_epsilon = layer_norm_epsilon
    backbone.tie_embedding_weights = tie_embedding_weights


def _dropout(rate: float, dtype: Any, name: str) -> keras.layers.Dropout:
    return keras.layers.Dropout(rate, dtype=dtype, name=name)


def _connect(backbone: keras_hub.models.T5Backbone) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the functional model's inputs [B, T] and [B, U], and its two outputs [B, T, H] and [B, U, H]."""
    names = ("encoder_token_ids", "encoder_padding_mask", "decoder_token_ids", "decoder_padding_mask")
    inputs = {name: keras.Input(shape=(None,), dtype="int32", name=name) for name in names}
    states = backbone.encoder_embedding_dropout(backbone.token_embedding(inputs["encoder_token_ids"]))
    encoder_mask, bias = inputs["encoder_padding_mask"][:, None, :], None
    for layer in backbone.encoder_transformer_layers:
        states, bias = layer(states, attention_mask=encoder_mask, position_bias=bias, use_causal_mask=False)
    encoded = backbone.encoder_dropout(backbone.encoder_layer_norm(states))
    states = backbone.decoder_embedding_dropout(backbone.token_embedding(inputs["decoder_token_ids"]))
    decoder_mask, bias = inputs["decoder_padding_mask"][:, None, :], None
    for layer in backbone.decoder_transformer_layers:
        states, bias = layer(
            states,
            attention_mask=decoder_mask,
            position_bias=bias,
            encoder_hidden_states=encoded,
            encoder_attention_mask=encoder_mask,
            use_causal_mask=True,
        )
    decoded = backbone.decoder_dropout(backbone.decoder_layer_norm(states))
    return inputs, {"encoder_sequence_output": encoded, "decoder_sequence_output": decoded}


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
