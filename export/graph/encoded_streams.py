"""In a served graph: the encoder output of a batch in which rows share texts, and the order in which its rows are decoded.

`shared_texts.py` encodes each text once. Here it stays one for the decoder: rows that read the same text stand together in groups
of equal size, whose queries see it as if they were those of one row. Rows that are left over have a copy each.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from softprompt_tf.backbones.passes.encoder_rows import behind
from softprompt_tf.backbones.passes.shared_source import SharedPart, SharedSource
from softprompt_tf.injection import Front


class WorthSharing(NamedTuple):
    """From where on it pays to decode rows that read the same text in groups.

    Args:
      rows: of a group. For fewer, a text's keys and values cost more than absorbed ones (`absorbed_attention.is_cheaper`).
      bytes: of the copies of the encoder output that rows in groups are spared. Fewer stay in a processor's cache, and reading
        them from there costs less than the operations of a group.
    """

    rows: int
    bytes: int


# One pass over the targets: 44 MB gained nothing with 32 MiB of cache, and 12 MB took 1.06 times as long.
FOR_SCORES = WorthSharing(rows=8, bytes=64 * 2**20)
# Each token reads the copies again: groups of 40 rows gained a quarter with 12 MB. Groups of two took 1.04 times as long for
# answers of 8 tokens.
FOR_ANSWERS = WorthSharing(rows=4, bytes=8 * 2**20)


class EncodedStreams(NamedTuple):
    """The encoder output of B rows, each stream's once, and what stands in front of it for some rows alone.

    Args:
      states: [S, L, H], with mask int32 [S, L].
      of_row: int32 [B], each row's stream.
      own: [J, P, H], rows behind the encoder, with own_mask int32 [J, P]. Where that is 0 they are zeros.
      own_of_row: int32 [B], which of them each row has.
    """

    states: tf.Tensor
    mask: tf.Tensor
    of_row: tf.Tensor
    own: tf.Tensor
    own_mask: tf.Tensor
    own_of_row: tf.Tensor

    @classmethod
    def specs(cls, hidden_dim: int, dtype: str) -> list[tf.TensorSpec]:
        """Return what a function takes that takes these one by one."""
        flat, numbers = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)
        states, own = (tf.TensorSpec([None, None, hidden_dim], kind) for kind in (dtype, tf.float32))
        return [states, flat, numbers, own, flat, numbers]

    @property
    def length(self) -> tf.Tensor:
        """P + L, the positions of a row's encoder output."""
        return tf.shape(self.own_mask)[1] + tf.shape(self.mask)[1]

    @property
    def row_bytes(self) -> tf.Tensor:
        """The bytes of a row's encoder output."""
        return self.length * (self.states.shape[-1] * self.states.dtype.size)

    def spread(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the encoder output [R, P + L, H] of rows int32 [R], and its mask."""
        streams, own = tf.gather(self.of_row, rows), tf.gather(self.own_of_row, rows)
        output: tuple[tf.Tensor, tf.Tensor] = behind(
            Front(tf.gather(self.own, own), tf.gather(self.own_mask, own)),
            tf.gather(self.states, streams),
            tf.gather(self.mask, streams),
        )
        return output

    def are_finite(self, rows: tf.Tensor) -> tf.Tensor:
        """Say of rows int32 [R] whether all of their encoder output is finite: bool [R]."""
        streams, own = tf.gather(self.of_row, rows), tf.gather(self.own_of_row, rows)
        return tf.gather(are_finite(self.states), streams) & tf.gather(are_finite(self.own), own)

    def shared_by(self, rows: tf.Tensor, group_size: tf.Tensor, *, has_own: bool) -> SharedSource:
        """Return what rows of groups see.

        Args:
          rows: int32 [G * group_size].
          group_size: scalar int32.
          has_own: whether anything stands in front of the encoder output in this graph.
        """
        of_group = tf.reshape(tf.gather(self.of_row, rows), [-1, group_size])[:, 0]
        text = _part(self.states, self.mask, of_group)
        if not has_own:
            return SharedSource(text)
        own = tf.cast(self.own, self.states.dtype)
        return SharedSource(text, _part(own, self.own_mask, tf.gather(self.own_of_row, rows)))


class DecodingOrder(NamedTuple):
    """In which order the rows of a batch are decoded: the groups, and then those that are left over.

    Args:
      rows: int32 [B].
      num_grouped: scalar int32, how many stand in groups.
      group_size: scalar int32, the rows of a group.
    """

    rows: tf.Tensor
    num_grouped: tf.Tensor
    group_size: tf.Tensor

    @classmethod
    def of(cls, of_row: tf.Tensor, row_bytes: tf.Tensor, least: WorthSharing) -> "DecodingOrder":
        """Return the order of rows whose streams are int32 [B], from 0, and of which each has so many bytes of encoder output.

        With fewer rows of a text or fewer bytes than `least`, none stand in groups.

        The size is the one with which most rows stand in groups, of equally good ones the largest: that of a request which asks
        the same number of tasks of every text leaves no row over.
        """
        counts, num_rows = tf.math.bincount(of_row), tf.size(of_row)
        sizes = tf.range(tf.maximum(tf.reduce_max(counts), least.rows), least.rows - 1, -1)
        grouped = tf.reduce_sum(counts[:, None] // sizes * sizes, axis=0)  # with each size
        best = tf.argmax(grouped)
        spared = tf.cast(grouped[best], tf.int64) * tf.cast(row_bytes, tf.int64)
        size = tf.where(spared >= least.bytes, sizes[best], num_rows + 1)  # or larger than any group
        by_stream = tf.argsort(of_row, stable=True)
        streams = tf.gather(of_row, by_stream)
        place = tf.range(num_rows) - tf.gather(tf.cumsum(counts, exclusive=True), streams)
        is_grouped = place < tf.gather(counts, streams) // size * size
        grouped_rows, others = tf.boolean_mask(by_stream, is_grouped), tf.boolean_mask(by_stream, ~is_grouped)
        return cls(tf.concat([grouped_rows, others], axis=0), tf.size(grouped_rows), size)

    @classmethod
    def specs(cls) -> list[tf.TensorSpec]:
        """Return what a function takes that takes these one by one."""
        number = tf.TensorSpec([], tf.int32)
        return [tf.TensorSpec([None], tf.int32), number, number]

    def alone_where(self, is_long: tf.Tensor) -> "DecodingOrder":
        """Return an order in which no row is left over where `is_long` holds: groups of one row, unless all are in groups."""
        num_rows = tf.size(self.rows)
        is_alone = is_long & (self.num_grouped < num_rows)
        return DecodingOrder(
            self.rows, tf.where(is_alone, num_rows, self.num_grouped), tf.where(is_alone, 1, self.group_size)
        )

    def by_groups(self, groups: Callable[[], Any], others: Callable[[], Any], nothing: Any) -> Any:
        """Return tensors [B, ...] in this order, one or several.

        Args:
          groups: gives those of rows in groups, and is left out where there are none.
          others: gives those of the others, likewise.
          nothing: those of no rows [0, ...].
        """
        first = tf.cond(self.num_grouped > 0, groups, lambda: nothing)
        second = tf.cond(self.num_grouped < tf.size(self.rows), others, lambda: nothing)
        return tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=0), first, second)

    def restored(self, values: tf.Tensor) -> tf.Tensor:
        """Put values [B, ...] of rows in this order back into that of the batch."""
        return tf.gather(values, tf.argsort(self.rows))


def are_finite(values: tf.Tensor) -> tf.Tensor:
    """Say whether all of each of values [R, S, H] is finite: bool [R]."""
    return tf.reduce_all(tf.math.is_finite(values), axis=[1, 2])


def _part(states: tf.Tensor, mask: tf.Tensor, of: tf.Tensor) -> SharedPart:
    """Return a part of the states that are seen at all; `of` are their numbers."""
    seen, place = tf.unique(of)
    return SharedPart(tf.gather(states, seen), tf.gather(mask, seen), place)
