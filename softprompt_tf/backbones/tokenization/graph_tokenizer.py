"""Tokenize and detokenize as TensorFlow ops, for data pipelines and for serving.

A vocabulary of SentencePiece's own is one op. Added tokens take one replacement in the text and a look-up of ids more; the steps
of other tools' tokenizers take an op or two each.
"""

import tensorflow as tf

from softprompt_tf.backbones.tokenization.byte_vocabulary import byte_texts
from softprompt_tf.backbones.tokenization.piece_model import removes_spaces
from softprompt_tf.backbones.tokenization.regex_split import regex_split
from softprompt_tf.backbones.tokenization.sentencepiece_ops import sentencepiece_ops
from softprompt_tf.backbones.tokenization.text_rules import SPACE, TextRules, any_added, rules_of, wrapped
from softprompt_tf.backbones.tokenization.text_steps import TextSteps, split_words


class GraphTokenizer(tf.Module):
    """The tokenizer of a SentencePiece model that `compiled_model` has made.

    Args:
      model: serialized.
    """

    def __init__(self, model: bytes):
        super().__init__()
        self.pieces = sentencepiece_ops(model)
        self._rules = rules_of(model) or TextRules()
        self._wrapped: list[tuple[str, str]] = []
        if self._rules.added:
            self._wrapped = wrapped(self._rules, keeps_spaces=not removes_spaces(model))
        self._steps = TextSteps(self._rules.steps)
        self._byte_texts = byte_texts(model, self._rules.added)

    def tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Turn texts [B] into ids [B, (T)], without an end of sequence."""
        if self._rules.splits:
            return self._with_own_ids(self._tokenize_words(tf.convert_to_tensor(texts)))
        if self._rules.steps:
            texts = self._stepped(tf.convert_to_tensor(texts))
        else:
            for pattern, rewrite in self._wrapped:
                texts = tf.strings.regex_replace(texts, pattern, rewrite)
        return self._with_own_ids(self.pieces.tokenize(texts))

    def detokenize(self, ids: tf.RaggedTensor) -> tf.Tensor:
        """Turn ids [B, (T)] into texts [B]; of byT5's bytes, those that are no UTF-8 are left out."""
        if self._byte_texts is not None:
            values = tf.gather(tf.constant(self._byte_texts), ids.values)
            texts = tf.strings.unsorted_segment_join(values, ids.value_rowids(), ids.nrows())
            return tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="ignore")
        texts = self.pieces.detokenize(ids)
        return tf.strings.regex_replace(texts, "^ ", "") if self._rules.splits else texts

    def _stepped(self, texts: tf.Tensor) -> tf.Tensor:
        """Run the steps on what lies between added tokens."""
        if not self._rules.added:
            return self._steps(texts)
        parts, is_added = self._parts(texts)
        own = tf.strings.regex_replace(parts.flat_values, *self._wrapped[0])
        flat = tf.where(is_added, own, self._steps(parts.flat_values))
        return tf.strings.unsorted_segment_join(flat, parts.value_rowids(), parts.nrows())

    def _tokenize_words(self, texts: tf.Tensor) -> tf.RaggedTensor:
        if not self._rules.added:
            words = split_words(self._steps(texts), self._rules.splits)
            return words.with_values(self.pieces.tokenize(words.values)).merge_dims(1, 2)
        parts, is_added = self._parts(texts)
        others = tf.where(is_added, "", parts.values)
        words = split_words(self._steps(others), self._rules.splits)  # [N, (W)], none for an added token
        own = tf.boolean_mask(parts.values, is_added)
        own = "▁" + tf.strings.regex_replace(own, f"^{SPACE}+|{SPACE}+$", "")
        owns = tf.RaggedTensor.from_row_lengths(own, tf.cast(is_added, tf.int64))
        words = parts.with_values(tf.concat([words, owns], axis=1)).merge_dims(1, 2)  # [B, (W)]
        return words.with_values(self.pieces.tokenize(words.values)).merge_dims(1, 2)

    def _parts(self, texts: tf.Tensor) -> tuple[tf.RaggedTensor, tf.Tensor]:
        """Cut texts [B] at added tokens: parts [B, (N)], and which of the flat parts is an added token."""
        pattern = any_added(self._rules)
        parts = regex_split(texts, pattern, pattern)
        return parts, tf.strings.regex_full_match(parts.flat_values, pattern)

    def _with_own_ids(self, pieces: tf.RaggedTensor) -> tf.RaggedTensor:
        """Give pieces that stand for an added token its id."""
        if not self._rules.aliases:
            return pieces
        aliases, first = tf.constant(self._rules.aliases, tf.int32), self._rules.first_alias

        def own(ids: tf.Tensor) -> tf.Tensor:
            return tf.where(ids < first, ids, tf.gather(aliases, tf.maximum(ids - first, 0)))

        return tf.ragged.map_flat_values(own, pieces) if isinstance(pieces, tf.RaggedTensor) else own(pieces)


def make_graph_tokenizer(model: bytes) -> GraphTokenizer:
    """Return the tokenizer of a serialized SentencePiece model, which gives int32 ids."""
    return GraphTokenizer(model)
