"""In a served graph: the encoder output of a batch, and what its rows' tasks inject into the decoder."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import tensorflow as tf

from softprompt_tf.export.graph.encoded_streams import FOR_SCORES, DecodingOrder, EncodedStreams, WorthSharing
from softprompt_tf.export.graph.graph_functions import GraphFunctions
from softprompt_tf.export.graph.graph_inputs import DECODER_TENSORS, ENCODER_TENSORS
from softprompt_tf.export.graph.member_rows import MemberRows
from softprompt_tf.export.graph.served_texts import ServedTexts
from softprompt_tf.export.graph.shared_texts import entries_of, first_rows, streams_of
from softprompt_tf.export.graph.task_tables import TaskTables
from softprompt_tf.methods.task_tensors import PROMPT, PROMPT_BEHIND_ENCODER


class EncodedRows(NamedTuple):
    """What the decoder takes of a batch.

    Args:
      output: what the graph's `encode` gave.
      decoding: where texts are shared the order in which rows are decoded; then rows and mask of each of `DECODER_TENSORS`.
    """

    output: Sequence[tf.Tensor]
    decoding: Sequence[tf.Tensor]


class ServedEncoder(NamedTuple):
    """Encodes the rows of requests.

    Args:
      tables: of the tasks.
      functions: of the graph.
    """

    tables: TaskTables
    functions: GraphFunctions

    def encode(self, text: tf.Tensor, task: tf.Tensor, members: MemberRows, worth: WorthSharing) -> EncodedRows:
        """Encode B' rows, one for each prompt that is asked.

        Args:
          text: string [B], rendered.
          task: int32 [B].
          members: B' rows of the B requests.
          worth: from where on rows of a text are decoded in groups.
        """
        asked = (members.spread(task), members.member)
        prompt, limit = self.tables.rows(PROMPT, *asked), self.tables.of("max_input_tokens", task)
        if not self.functions.shares_texts:
            tokens = [members.spread(part) for part in self._texts.tokenize(text, limit, task)]
            output = self.functions.encode(*prompt, *tokens, *self._parts(ENCODER_TENSORS, asked, tokens[0]))
            return EncodedRows(output, self._parts(DECODER_TENSORS, asked))
        *tokens, streams = self._streams(members.spread(text), members.spread(limit), asked)
        output = self.functions.encode(*prompt, *tokens, streams, *self._parts(ENCODER_TENSORS, asked, tokens[0]))
        order = DecodingOrder.of(streams[:, -2], EncodedStreams(*output).row_bytes, worth)
        task, member = (tf.gather(part, order.rows) for part in asked)
        return EncodedRows(output, [*order, *self._parts(DECODER_TENSORS, (task, member))])

    def encode_with_prompts(self, prompt: tf.Tensor, text: tf.Tensor, limit: tf.Tensor) -> EncodedRows:
        """Encode rows whose prompts float32 [B, P, H] are given; nothing else is injected."""
        ids, mask = self.functions.tokenize(text, limit)
        num_rows, prompt_mask = tf.shape(text)[0], tf.ones(tf.shape(prompt)[:2], tf.int32)
        rows, shares_texts = tf.range(num_rows), self.functions.shares_texts
        streams = [tf.tile(rows[:, None], [1, len(self._entries) + 1])] if shares_texts else []  # each row its own
        output = self.functions.encode(
            prompt, prompt_mask, ids, mask, *streams, *self._nothing(ENCODER_TENSORS, num_rows)
        )
        order = DecodingOrder.of(rows, EncodedStreams(*output).row_bytes, FOR_SCORES) if shares_texts else ()
        return EncodedRows(output, [*order, *self._nothing(DECODER_TENSORS, num_rows)])

    def _streams(
        self, text: tf.Tensor, limit: tf.Tensor, asked: tuple[tf.Tensor, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return ids int32 [B', T] of texts, of which equal ones are tokenized once, their mask, and the rows' streams."""
        task, member = asked
        equal, streams = streams_of(
            self._texts.keys(text, task),
            limit,
            lambda names: self.tables.key(names, task, member),
            self._entries,
            has_own=PROMPT_BEHIND_ENCODER in self.tables.row_shapes,
        )
        ids, mask = self._texts.tokenize(text, limit, task, rows=first_rows(equal))
        return tf.gather(ids, equal), tf.gather(mask, equal), streams

    def _parts(
        self, names: Collection[str], asked: tuple[tf.Tensor, tf.Tensor], ids: tf.Tensor | None = None
    ) -> list[tf.Tensor]:
        """Return rows and mask of those of the tensors that the graph has tables of."""
        rows = (self.tables.rows(name, *asked, ids) for name in self._having(names))
        return [part for pair in rows for part in pair]

    def _nothing(self, names: Collection[str], num_rows: tf.Tensor) -> list[tf.Tensor]:
        """Return rows of tables of which none counts."""
        parts: list[tf.Tensor] = []
        for name in self._having(names):
            shape = self.tables.row_shapes[name]
            parts += [tf.zeros([num_rows, 1, *shape]), tf.zeros([num_rows, 1], tf.int32)]
        return parts

    def _having(self, names: Collection[str]) -> list[str]:
        return [name for name in names if name in self.tables.row_shapes]

    @property
    def _entries(self) -> list[list[str]]:
        return entries_of(self.tables.row_shapes)

    @property
    def _texts(self) -> ServedTexts:
        return ServedTexts(self.tables, self.functions)
