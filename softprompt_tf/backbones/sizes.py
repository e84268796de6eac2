"""The sizes of a KerasHub T5 that decide how large a task's tensors are."""

import keras_hub

from softprompt_tf.backbone_sizes import BackboneSizes


def head_dim_of(backbone: keras_hub.models.T5Backbone) -> int:
    """Return D, the width of a key or a value; not always H / N."""
    return int(backbone.key_value_dim or backbone.hidden_dim // backbone.num_heads)


def sizes_of(backbone: keras_hub.models.T5Backbone) -> BackboneSizes:
    """Return all of them."""
    return BackboneSizes(
        hidden_dim=int(backbone.hidden_dim),
        encoder_layers=len(backbone.encoder_transformer_layers),
        decoder_layers=len(backbone.decoder_transformer_layers),
        num_heads=int(backbone.num_heads),
        head_dim=head_dim_of(backbone),
        feed_forward_dim=int(backbone.intermediate_dim),
    )
