"""Make a KerasHub backbone of a T5 1.1 shape, with random weights."""

from dataclasses import dataclass

import keras
import keras_hub

from softprompt_tf.backbones.loading.built_layers import plain_backbone
from softprompt_tf.pretraining.ranges import check_least


@dataclass(frozen=True)
class BackboneShape:
    """The shape of a T5 1.1: gated tanh GELU, untied head, no dropout.

    Args:
      vocabulary_size: rows of the embedding table; the last 100 are sentinels.
      hidden_dim, intermediate_dim, num_layers, num_heads, key_value_dim: as in KerasHub's `T5Backbone`.

    Raises:
      ConfigError: if a number is out of range.
    """

    vocabulary_size: int = 8192
    hidden_dim: int = 256
    intermediate_dim: int = 512
    num_layers: int = 4
    num_heads: int = 4
    key_value_dim: int = 64

    def __post_init__(self) -> None:
        check_least(
            1,
            vocabulary_size=self.vocabulary_size,
            hidden_dim=self.hidden_dim,
            intermediate_dim=self.intermediate_dim,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            key_value_dim=self.key_value_dim,
        )


def build_backbone(shape: BackboneShape, *, dtype: str, seed: int) -> keras_hub.models.T5Backbone:
    """Make a T5 1.1 with random weights that `seed` decides."""
    keras.utils.set_random_seed(seed)
    return plain_backbone(
        vocabulary_size=shape.vocabulary_size,
        num_layers=shape.num_layers,
        num_heads=shape.num_heads,
        hidden_dim=shape.hidden_dim,
        intermediate_dim=shape.intermediate_dim,
        key_value_dim=shape.key_value_dim,
        dropout=0.0,
        activation=keras.saving.get_registered_object("keras_hub>gelu_approximate"),
        use_gated_activation=True,
        tie_embedding_weights=False,
        dtype=dtype,
    )
