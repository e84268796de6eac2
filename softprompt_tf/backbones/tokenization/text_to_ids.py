"""Turn texts [B] into padded token ids [B, T] inside a TensorFlow graph, for data pipelines and for serving."""

import tensorflow as tf

from softprompt_tf.backbones.frozen_t5 import EOS_ID, FrozenT5


def text_to_ids(t5: FrozenT5, texts: tf.Tensor, max_tokens: int | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Tokenize, cut, append the end of sequence, and pad to the longest row of the batch.

    Args:
      t5: whose tokenizer is used.
      texts: string [B].
      max_tokens: where a row is cut, the end of sequence included: one number, or int [B] with one per row.

    Returns:
      ids int32 [B, T] and padding mask int32 [B, T], 1 = a real token. An empty text is a row of one end of sequence.

    Source: T5 cuts to length - 1 and then appends (seqio `append_eos_after_trim`).
    """
    return pieces_to_ids(t5.graph_tokenizer.tokenize(texts), max_tokens)


def pieces_to_ids(pieces: tf.RaggedTensor, max_tokens: int | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Do as `text_to_ids` for rows that are tokenized already, [B, None]."""
    limits = tf.cast(max_tokens, tf.int32) - 1
    lengths = tf.minimum(tf.cast(pieces.row_lengths(), tf.int32), limits)  # [B], without the end of sequence
    width = tf.maximum(tf.reduce_max(lengths), 0)  # the maximum over no rows is the lowest number there is
    # [B, T], one more than the longest row. Cut on the way: one row of a long text would widen all others of the batch.
    ids = tf.cast(pieces.to_tensor(0, shape=tf.stack([-1, width + 1])), tf.int32)
    ids.set_shape([None, None])
    positions = tf.range(width + 1)[None, :]
    ends = lengths[:, None]
    ids = tf.where(positions < ends, ids, tf.where(positions == ends, EOS_ID, 0))
    return ids, tf.cast(positions <= ends, tf.int32)
