"""Turn the token ids that a served model wrote into texts."""

import tensorflow as tf

from softprompt_tf.backbones import EOS_ID, FrozenT5


def written_texts(t5: FrozenT5, ids: tf.Tensor) -> tf.Tensor:
    """Turn ids [B, U] into texts [B], leaving out padding, ends of sequence, sentinels, and ids that are no token's."""
    sentinels = tf.constant(t5.sentinel_pieces, tf.int32)  # of T5's own vocabulary none
    is_sentinel = tf.reduce_any(ids[:, :, None] == sentinels, axis=-1)
    is_word = (ids > EOS_ID) & (ids < t5.tokenizer.vocabulary_size()) & ~is_sentinel
    added = t5.text_pieces.answer_tokens
    if added:
        is_word |= tf.reduce_any(ids[:, :, None] == tf.constant(added, tf.int32), axis=-1)
    return t5.graph_tokenizer.detokenize(tf.ragged.boolean_mask(ids, is_word))
