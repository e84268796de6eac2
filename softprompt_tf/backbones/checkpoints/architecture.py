"""The sizes and forms of a T5, and a KerasHub backbone with room for its weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import keras_hub

from softprompt_tf.backbones.loading.built_layers import plain_backbone
from softprompt_tf.backbones.loading.variant_backbone import T5_BUCKETS, T5_MAX_DISTANCE, T5VariantBackbone

GELU_TANH = "gelu_tanh"
ACTIVATIONS = ("relu", "gelu", GELU_TANH, "silu")


@dataclass(frozen=True, kw_only=True)
class T5Architecture:
    """Sizes and forms of one T5.

    Args:
      vocabulary_size: V, rows of the embedding table.
      hidden_dim: H.
      intermediate_dim: width of the feed-forward blocks.
      num_heads: N.
      head_dim: D, not always H / N.
      num_layers: layers of the encoder.
      num_decoder_layers: layers of the decoder.
      activation: of the feed-forward blocks: "relu" (T5 1.0), "gelu_tanh" (T5 1.1; `gelu_new` to Hugging Face), "gelu" (the
        exact one) or "silu".
      is_gated: whether the feed-forward blocks have a linear gate (T5 1.1).
      has_tied_head: whether the head is the embedding table.
      scales_logits: whether decoder states are multiplied by H^-0.5 before the head (T5 1.0).
      norm_epsilon: what the layer norms add to the variance.
      relative_buckets: rows of the table of relative-position biases.
      relative_max_distance: tokens; positions further apart share a bucket.
    """

    vocabulary_size: int
    hidden_dim: int
    intermediate_dim: int
    num_heads: int
    head_dim: int
    num_layers: int
    num_decoder_layers: int
    activation: str
    is_gated: bool
    has_tied_head: bool
    scales_logits: bool
    norm_epsilon: float = 1e-6
    relative_buckets: int = T5_BUCKETS
    relative_max_distance: int = T5_MAX_DISTANCE

    @property
    def head_factor(self) -> float:
        """What the decoder's last norm has to be multiplied with.

        A `FrozenT5` multiplies the states by H^-0.5 where the head is tied, and only there. A model that does otherwise gets
        the difference into the scale of its last norm, which stands directly before.
        """
        if self.has_tied_head == self.scales_logits:
            return 1.0
        return self.hidden_dim ** (0.5 if self.has_tied_head else -0.5)


def build_backbone(
    architecture: T5Architecture, *, dtype: Any, settings: Mapping[str, Any] | None = None
) -> keras_hub.models.T5Backbone:
    """Build the backbone, without dropout, its weights still drawn at random.

    Args:
      architecture: what to build.
      dtype: a dtype or a Keras dtype policy.
      settings: arguments of `keras_hub.models.T5Backbone` that take the place of these.

    Returns:
      KerasHub's own class wherever that can express the model, else a `T5VariantBackbone`.
    """
    shape = {
        "vocabulary_size": architecture.vocabulary_size,
        "num_layers": architecture.num_layers,
        "num_heads": architecture.num_heads,
        "hidden_dim": architecture.hidden_dim,
        "intermediate_dim": architecture.intermediate_dim,
        "key_value_dim": architecture.head_dim,
        "dropout": 0.0,
        "activation": _activation(architecture.activation),
        "use_gated_activation": architecture.is_gated,
        "layer_norm_epsilon": architecture.norm_epsilon,
        "tie_embedding_weights": architecture.has_tied_head,
        "dtype": dtype,
        **(settings or {}),
    }
    is_plain = (
        architecture.num_decoder_layers == architecture.num_layers
        and architecture.relative_buckets == T5_BUCKETS
        and architecture.relative_max_distance == T5_MAX_DISTANCE
    )
    if is_plain:
        return plain_backbone(**shape)
    return T5VariantBackbone(
        **shape,
        num_decoder_layers=architecture.num_decoder_layers,
        relative_attention_buckets=architecture.relative_buckets,
        relative_attention_max_distance=architecture.relative_max_distance,
    )


def _activation(name: str) -> Any:
    return keras.saving.get_registered_object("keras_hub>gelu_approximate") if name == GELU_TANH else name
