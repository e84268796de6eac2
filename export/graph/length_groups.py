"""Encode rows of similar length together, so that a batch has little padding.

A model server puts the rows of many callers into one batch, and a task of long texts would make a task of short ones pay for
its padding. How many groups there are is decided in the graph, for each batch anew.
"""

from collections.abc import Callable

import tensorflow as tf

Encode = Callable[..., tuple[tf.Tensor, tf.Tensor]]
"""Rows in front [B, P, H], their mask, token ids [B, T], their mask, others [B, ...] -> states [B, P + T, H], their mask."""

# What one more group costs, in tokens: the weights are read once more. An estimate: see `benchmarks/length_groups.py`.
GROUP_TOKENS = 64
GROUP_SHARE = 1 / 16  # of the batch, if that is more: many small groups would keep a GPU idle


def encode_by_length(
    encode: Encode,
    prompt: tf.Tensor,
    prompt_mask: tf.Tensor,
    token_ids: tf.Tensor,
    mask: tf.Tensor,
    *others: tf.Tensor,
    dtype: str,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Encode rows in groups of alike length.

    Args:
      encode: runs the encoder on some of the rows.
      prompt: [B, P, H], with prompt_mask int32 [B, P].
      token_ids: int32 [B, T], or what stands in their place [B, T, ...], with mask int32 [B, T]; padding stands behind the text.
      *others: [B, ...], what else `encode` takes of each row.
      dtype: of the encoder output.

    Returns:
      What `encode` gives for all rows at once, up to rounding: the encoder output [B, P + T, H], which means nothing at
      masked positions, and its mask [B, P + T].
    """
    lengths = tf.reduce_sum(mask, axis=1)
    order = tf.argsort(lengths, direction="DESCENDING", stable=True)
    lengths = tf.gather(lengths, order)
    from_the_longest = [tf.gather(part, order) for part in (prompt, prompt_mask, token_ids, mask, *others)]
    (num_rows, width), num_vectors = tf.unstack(tf.shape(mask)), tf.shape(prompt)[1]

    def encode_group(first: tf.Tensor, outputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Encode the group that starts at row `first`, and put it behind the groups before it."""
        last = first + rows_of_group(num_vectors + lengths[first:])
        prompts, prompt_masks, ids, masks, *parts = (part[first:last] for part in from_the_longest)
        longest = lengths[first]
        output, _ = encode(prompts, prompt_masks, ids[:, :longest], masks[:, :longest], *parts)
        padded = tf.pad(output, [[0, 0], [0, width - longest], [0, 0]])
        return last, tf.concat([outputs, padded], axis=0)

    nothing = tf.zeros([0, num_vectors + width, prompt.shape[-1]], dtype)
    _, outputs = tf.while_loop(
        lambda first, _: first < num_rows,
        encode_group,
        (tf.constant(0), nothing),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, None, prompt.shape[-1]])),
    )
    return tf.gather(outputs, tf.argsort(order)), tf.concat([prompt_mask, mask], axis=1)


def rows_of_group(widths: tf.Tensor) -> tf.Tensor:
    """Say how many rows in front are encoded together, so that they and the rest, as one group, cost least.

    Args:
      widths: int32 [R], the rows' lengths from the longest down.

    Returns:
      Scalar int32, from 1 to R.
    """
    num_rows = tf.shape(widths)[0]
    counts = tf.range(1, num_rows + 1)
    next_widths = tf.concat([widths[1:], [0]], axis=0)
    together = num_rows * widths[0]
    one_more = tf.maximum(GROUP_TOKENS, tf.cast(GROUP_SHARE * tf.cast(together, tf.float32), tf.int32))
    costs = counts * widths[0] + (num_rows - counts) * next_widths + tf.where(counts < num_rows, one_more, 0)
    return tf.argmin(costs, output_type=tf.int32) + 1
