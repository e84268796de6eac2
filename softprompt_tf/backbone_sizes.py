"""The sizes of a frozen encoder-decoder that decide how large a task's tensors are."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BackboneSizes:
    """Sizes of an encoder-decoder.

    Args:
      hidden_dim: H, the width of an embedding.
      encoder_layers: layers of the encoder.
      decoder_layers: layers of the decoder; not always as many.
      num_heads: N, the attention heads of a layer.
      head_dim: D, the width of a key or a value; not always H / N.
      feed_forward_dim: F, the inner width of a feed-forward; 0 where it is not known.
    """

    hidden_dim: int
    encoder_layers: int
    decoder_layers: int
    num_heads: int
    head_dim: int
    feed_forward_dim: int = 0
