"""A T5 that KerasHub's own class cannot express: other relative-position buckets, or fewer decoder layers than encoder layers."""

from typing import Any

import keras
import keras_hub

from softprompt_tf.backbones.loading.built_layers import assemble

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
        assemble(
            self,
            vocabulary_size,
            num_layers,
            num_heads,
            hidden_dim,
            intermediate_dim,
            key_value_dim=key_value_dim,
            dropout=dropout,
            activation=activation,
            use_gated_activation=use_gated_activation,
            layer_norm_epsilon=layer_norm_epsilon,
            tie_embedding_weights=tie_embedding_weights,
            num_decoder_layers=num_decoder_layers,
            buckets=(relative_attention_buckets, relative_attention_max_distance),
            dtype=dtype,
            **kwargs,
        )
        self.num_decoder_layers = num_decoder_layers or num_layers
        self.relative_attention_buckets = relative_attention_buckets
        self.relative_attention_max_distance = relative_attention_max_distance

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
