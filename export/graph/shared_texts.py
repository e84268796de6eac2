"""In a served graph: encode each text of a batch once for all rows that ask about it.

Rows with equal texts go through the encoder as one stream. A stream parts where a task's own rows enter: at the embeddings for a
prompt or an offset, before a layer for a late prompt, never for rows behind the encoder or for what goes into the decoder alone.
"""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import tensorflow as tf

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.backbones.passes.cheaper_passes import encode_embeddings
from softprompt_tf.export.graph.encoded_streams import EncodedStreams
from softprompt_tf.export.graph.length_groups import Encode, encode_by_length
from softprompt_tf.injection import Front, Injection, InvertibleAdapter, KeyValues, PromptSight, TextOffsets
from softprompt_tf.methods.task_tensors import ENTERS_AT_ONCE, LATE_PROMPTS, PROMPT_BEHIND_ENCODER
from softprompt_tf.model.prompted_inputs import embeddings_of

KeyOf = Callable[[Collection[str]], tf.Tensor]
"""Names of tensors -> string [B], equal for rows that have the same values of them; "" where a row has none."""


class _Streams(NamedTuple):
    """The streams of a batch behind some layers."""

    states: tf.Tensor  # [S, W + T, H], W places for rows in front of the text
    front_mask: tf.Tensor  # int32 [S, W]
    of_row: tf.Tensor  # int32 [B], each row's stream

    def of(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return states and mask of the streams that these rows of the batch are in."""
        streams = tf.gather(self.of_row, rows)
        return tf.gather(self.states, streams), tf.gather(self.front_mask, streams)


def entries_of(names: Collection[str]) -> list[list[str]]:
    """Return, for each stage of a graph with tables of these tensors, which of them enter at its beginning."""
    first = [name for name in ENTERS_AT_ONCE if name in names]
    return [first, *([name] for name in LATE_PROMPTS if name in names)]


def streams_of(
    text: tf.Tensor, limit: tf.Tensor, key_of: KeyOf, entries: Sequence[Collection[str]], *, has_own: bool
) -> tuple[tf.Tensor, tf.Tensor]:
    """Number the streams of a batch.

    Args:
      text: string [B].
      limit: int32 [B], where the text is cut.
      key_of: which rows have the same tensors.
      entries: as `entries_of` gives them.
      has_own: whether the graph has a table of rows behind the encoder.

    Returns:
      int32 [B], equal for rows of equal inputs; and int32 [B, stages + 1], the stream of a row during each stage, and what it has
      behind the encoder. All count from 0 in the order of the rows.
    """
    _, equal = tf.unique(tf.strings.join([text, tf.strings.as_string(limit)], separator="\0"))
    stages = [equal]
    for names in entries:
        parted = tf.strings.join([tf.strings.as_string(stages[-1]), key_of(names)], separator=" ")
        stages.append(tf.unique(parted)[1])
    own = tf.unique(key_of([PROMPT_BEHIND_ENCODER]))[1] if has_own else tf.zeros_like(equal)
    return equal, tf.stack([*stages[1:], own], axis=1)


def first_rows(numbers: tf.Tensor) -> tf.Tensor:
    """Return the first row int32 [S] of each number of int32 [B], which count from 0."""
    return tf.math.unsorted_segment_min(tf.range(tf.size(numbers)), numbers, tf.reduce_max(numbers) + 1)


def encode_streams(
    t5: FrozenT5, token_ids: tf.Tensor, mask: tf.Tensor, streams: tf.Tensor, injection: Injection
) -> EncodedStreams:
    """Run the encoder on the streams of a batch, stage by stage.

    Args:
      t5: the frozen T5.
      token_ids: int32 [B, T], with mask int32 [B, T].
      streams: int32 [B, stages + 1], as `streams_of` numbers them; one stage, and one more for each of `injection.late`.
      injection: what the rows' tasks inject, with a front; masks are given.

    Returns:
      What the streams end with, and the rows behind the encoder.
    """
    entering = [injection.front, *injection.late]
    width = tf.reduce_max(tf.stack([tf.shape(part.rows)[1] for part in entering]))  # type: ignore[union-attr]
    firsts = [0, *(late.layer for late in injection.late)]
    now = None
    for stage, last in enumerate([*firsts[1:], None]):
        front = _right_aligned(entering[stage], width)  # type: ignore[arg-type]
        run = _layers(t5, firsts[stage], last, injection)
        now = _next(t5, run, now, streams[:, stage], front, token_ids, mask, _inside(injection))
        injection = injection._replace(offsets=None, placed=(), invertible=None)  # of the embeddings alone
    states, front_mask, of_row = now  # type: ignore[misc]
    mask = tf.concat([front_mask, tf.gather(mask, first_rows(of_row))], axis=1)
    return EncodedStreams(states, mask, of_row, *_own(injection, streams[:, -1]), streams[:, -1])


def _own(injection: Injection, of_row: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the different rows behind the encoder [J, P, H] of a batch, zeros where none counts, and their mask."""
    rows = first_rows(of_row)
    if injection.behind is None:
        hidden_dim = injection.front.rows.shape[-1]  # type: ignore[union-attr]
        return tf.zeros([tf.size(rows), 0, hidden_dim]), tf.zeros([tf.size(rows), 0], tf.int32)
    own, mask = (tf.gather(part, rows) for part in (injection.behind.rows, injection.behind.mask))
    return tf.where(mask[:, :, None] > 0, own, 0.0), mask


def _next(
    t5: FrozenT5,
    run: Encode,
    before: _Streams | None,
    of_row: tf.Tensor,
    front: tuple[tf.Tensor, tf.Tensor],
    token_ids: tf.Tensor,
    mask: tf.Tensor,
    inside: Sequence[tf.Tensor],
) -> _Streams:
    """Let rows enter the streams before some layers, and run these."""
    rows = first_rows(of_row)
    new, new_mask = (tf.gather(part, rows) for part in front)
    if before is None:
        head, head_mask, tail = new, new_mask, tf.gather(token_ids, rows)
    else:
        states, head_mask = before.of(rows)
        width = tf.shape(new)[1]
        head = tf.where(new_mask[:, :, None] > 0, tf.cast(new, states.dtype), states[:, :width])
        head_mask, tail = tf.maximum(head_mask, new_mask), states[:, width:]
    others = [tf.gather(part, rows) for part in inside]
    states, _ = encode_by_length(run, head, head_mask, tail, tf.gather(mask, rows), *others, dtype=t5.compute_dtype)
    return _Streams(states, head_mask, of_row)


def _inside(injection: Injection) -> list[tf.Tensor]:
    """Return what goes among the embeddings, is added to them, and goes into the encoder's layers: tensors [B, ...]."""
    placed = [value for part in injection.placed for value in (part.rows, part.mask)]
    offsets = [] if injection.offsets is None else [injection.offsets.rows]
    key_values = [] if injection.encoder is None else [injection.encoder.rows, injection.encoder.mask]
    invertible = [] if injection.invertible is None else [injection.invertible.rows]
    sight = [] if injection.sight is None else [injection.sight.rows]
    return [*placed, *offsets, *invertible, *sight, *key_values, *(change.rows for change in injection.changes)]


def _rebuilt(injection: Injection, inside: Sequence[tf.Tensor]) -> Injection:
    """Return an injection of what `_inside` gave, for some of the rows."""
    parts = iter(inside)
    return Injection(
        placed=tuple(part._replace(rows=next(parts), mask=next(parts)) for part in injection.placed),
        offsets=None if injection.offsets is None else TextOffsets(next(parts)),
        invertible=None if injection.invertible is None else InvertibleAdapter(next(parts)),
        sight=None if injection.sight is None else PromptSight(next(parts)),
        encoder=None if injection.encoder is None else KeyValues(next(parts), next(parts)),
        changes=tuple(change._replace(rows=next(parts)) for change in injection.changes),
    )


def _layers(t5: FrozenT5, first: int, last: int | None, injection: Injection) -> Encode:
    """Return what runs encoder layers on rows in front [S, W, H] and what stands behind them: token ids, or states [S, T, H]."""

    def run(
        head: tf.Tensor, head_mask: tf.Tensor, tail: tf.Tensor, tail_mask: tf.Tensor, *others: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        inside = _rebuilt(injection, others)
        tail = embeddings_of(t5, tail, inside) if first == 0 else tail
        states = tf.concat([tf.cast(head, tail.dtype), tail], axis=1)
        mask = tf.concat([head_mask, tail_mask], axis=1)
        if (first, last) == (0, None):
            return encode_embeddings(t5, states, mask, inside._replace(front=Front(head, head_mask))), mask
        states = t5.forward.encode(
            states,
            mask,
            inside.encoder,
            changes=inside.changes,
            layers=slice(first, last),
            num_front=tf.shape(head)[1] if inside.knows_front else 0,
            sight=inside.sight,
        )
        return states, mask

    return run


def _right_aligned(part: Front, width: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return rows and mask with as many masked rows in front as make them `width`."""
    missing = width - tf.shape(part.rows)[1]
    return tf.pad(part.rows, [[0, 0], [missing, 0], [0, 0]]), tf.pad(part.mask, [[0, 0], [missing, 0]])
