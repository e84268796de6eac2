"""Tokenize texts with placeholders for the rows of a prompt, inside a TensorFlow graph; `TextPlaces` does the same in Python."""

from typing import NamedTuple

import tensorflow as tf

from softprompt_tf.backbones.tokenization.graph_tokenizer import GraphTokenizer
from softprompt_tf.backbones.tokenization.regex_split import regex_split
from softprompt_tf.backbones.tokenization.text_to_ids import pieces_to_ids
from softprompt_tf.prompt_places import AT_END_ID, IN_TEXT_ID, MARKER


class PlaceCounts(NamedTuple):
    """What `TextPlaces` has, for each row of a batch: int32 [B]. Markers are plain text where `in_text` is 0."""

    in_text: tf.Tensor
    at_end: tf.Tensor


def marked_rows(texts: tf.Tensor) -> tf.Tensor:
    """Return how many rows the markers of texts [B] ask for, int64 [B]."""
    parts = regex_split(texts, MARKER, MARKER)
    counts = _counts(parts.flat_values, tf.strings.regex_full_match(parts.flat_values, MARKER))
    return tf.reduce_sum(parts.with_values(counts), axis=1)


def placed_pieces(tokenizer: GraphTokenizer, texts: tf.Tensor, counts: PlaceCounts) -> tf.RaggedTensor:
    """Turn texts [B] into ids int32 [B, (T)] with a placeholder for each row, without an end of sequence.

    Where markers ask for more rows than there are, all rows are in front.
    """
    has_markers = counts.in_text > 0
    whole = tf.RaggedTensor.from_tensor(tf.where(has_markers, "", texts)[:, None])
    marked = regex_split(tf.where(has_markers, texts, ""), MARKER, MARKER)
    parts = tf.concat([whole, marked], axis=1)  # [B, (N)]; of `whole` or of `marked` nothing is left
    row = parts.value_rowids()
    is_marker = tf.strings.regex_full_match(parts.flat_values, MARKER) & tf.gather(has_markers, row)
    asked = parts.with_values(_counts(parts.flat_values, is_marker))
    num_asked = tf.reduce_sum(asked, axis=1)  # [B]
    fits = num_asked <= tf.cast(counts.in_text, tf.int64)
    own = tf.where(tf.gather(fits, row), asked.flat_values, 0)
    pieces = tokenizer.tokenize(tf.where(is_marker, "", parts.flat_values))  # [N, (T)]
    placed = tf.concat([pieces, _placeholders(own, IN_TEXT_ID)], axis=1)  # of each part one or the other
    in_front = tf.cast(counts.in_text, tf.int64) - tf.where(fits, num_asked, 0)
    return tf.concat(
        [
            _placeholders(in_front, IN_TEXT_ID),
            parts.with_values(placed).merge_dims(1, 2),
            _placeholders(tf.cast(counts.at_end, tf.int64), AT_END_ID),
        ],
        axis=1,
    )


def placed_pieces_to_ids(pieces: tf.RaggedTensor, limits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Cut, end and pad ids with placeholders, as `pieces_to_ids` does; placeholders stay and do not count.

    Args:
      pieces: int32 [B, (T)].
      limits: int32 [B], where a row is cut, the end of sequence included.
    """
    is_text = pieces.flat_values >= 0
    before = tf.concat([[0], tf.cumsum(tf.cast(is_text, tf.int32))], axis=0)  # [N + 1], tokens in front of each place
    row = pieces.value_rowids()
    in_row = before[:-1] - tf.gather(tf.gather(before, pieces.row_starts()), row)
    is_kept = ~is_text | (in_row < tf.gather(limits, row) - 1)
    kept = tf.ragged.boolean_mask(pieces, pieces.with_values(is_kept))
    return pieces_to_ids(kept, tf.cast(kept.row_lengths(), tf.int32) + 1)


def _counts(parts: tf.Tensor, is_marker: tf.Tensor) -> tf.Tensor:
    """Return the number in each part that is a marker, int64 [N], and 0 for the others."""
    digits = tf.strings.regex_replace(parts, "[^0-9]", "")
    return tf.strings.to_number(tf.where(is_marker, digits, "0"), tf.int64)


def _placeholders(counts: tf.Tensor, placeholder: int) -> tf.RaggedTensor:
    """Return so many placeholders for each row: int32 [B, (counts)]."""
    return tf.RaggedTensor.from_row_lengths(tf.fill([tf.reduce_sum(counts)], placeholder), counts, validate=False)
