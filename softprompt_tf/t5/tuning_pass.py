"""Which way a frozen T5 runs where there is a cheaper one than its layers: for training a prompt, and on a few tokens."""

from collections.abc import Callable

from keras import ops

from softprompt_tf.t5.frozen_forward import causal_bias
from softprompt_tf.t5.frozen_t5 import FrozenT5
from softprompt_tf.typing import Tensor


def tune(
    t5: FrozenT5,
    embeddings: Tensor,
    padding_mask: Tensor,
    decoder_token_ids: Tensor,
    *,
    num_moving: int | None = None,
) -> Tensor:
    """Return the decoder states that `t5.encode` and `t5.decode` give, with cheaper gradients and without dropout.

    Args:
      t5: the frozen T5. Its layers run where its form, or a quantization, is none that `FrozenForward` knows.
      embeddings: [B, S, H]; gradients reach nothing else.
      padding_mask: [B, S], 1 = a position to attend to.
      decoder_token_ids: int [B, U], the start id and then the targets, shifted by one.
      num_moving: how many rows in front have a gradient, such as those of a prompt; the others' is 0. Default: all.

    Returns:
      Decoder states [B, U, H].
    """
    if not t5.forward.is_able:
        return t5.decode(decoder_token_ids, t5.encode(embeddings, padding_mask), padding_mask)
    encoder_output = t5.forward.encode(embeddings, padding_mask, num_moving=num_moving)

    def decode_few() -> Tensor:
        bias = causal_bias(t5.backbone, ops.shape(decoder_token_ids)[1])[None]  # [1, N, U, U]
        return t5.forward.decode_for_tuning(t5.embed(decoder_token_ids), bias, encoder_output, padding_mask)

    def decode_many() -> Tensor:
        return t5.decode(decoder_token_ids, encoder_output, padding_mask)

    return by_cost(t5, decoder_token_ids, encoder_output, decode_few, decode_many)


def by_cost(
    t5: FrozenT5,
    token_ids: Tensor,
    encoder_output: Tensor,
    few: Callable[[], Tensor],
    many: Callable[[], Tensor],
) -> Tensor:
    """Return what `few` gives where absorbed cross-attention pays, and else what `many` gives.

    Args:
      t5: `many` is taken where its form, or a quantization, is none that `FrozenForward` knows.
      token_ids: int [B, U], what the decoder reads; where sizes are unknown, the graph chooses.
      encoder_output: [B, S, H].
      few: runs `t5.forward`'s decoder.
      many: runs the layers.
    """
    if not t5.forward.is_able:
        return many()
    is_short = t5.forward.is_short(ops.shape(token_ids)[1], ops.shape(encoder_output)[1])
    if isinstance(is_short, bool):
        return few() if is_short else many()
    return ops.cond(is_short, few, many)
