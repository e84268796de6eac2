"""Tokenize in Python, with the same result as `graph_tokenizer`: texts to ids, and ids to texts."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import sentencepiece

from softprompt_tf.backbones.tokenization.byte_vocabulary import byte_texts
from softprompt_tf.backbones.tokenization.piece_model import compiled_model, own_id, removes_spaces, sentinel_tokens
from softprompt_tf.backbones.tokenization.text_rules import SENTINEL, SPECIAL, TextRules, rules_of, wrapped
from softprompt_tf.errors import BackboneError

if TYPE_CHECKING:
    from softprompt_tf.backbones.tokenization.graph_tokenizer import GraphTokenizer


class TextPieces:
    """A vocabulary with what it does beside SentencePiece.

    Args:
      model: a serialized SentencePiece model, with rules (see `text_rules`) or without.
      num_rows: of the embedding table. Where it is given and the model has no rules, T5's sentinels are added tokens.

    Raises:
      BackboneError: if an added token has no row in the embedding table, or cannot be found in a text.
    """

    def __init__(self, model: bytes, *, num_rows: int | None = None):
        rules = rules_of(model)
        if rules is None:
            rules = TextRules(() if num_rows is None else sentinel_tokens(model))
        self.model = compiled_model(model, rules if num_rows is None else _with_rows(rules, num_rows))
        self.rules = rules_of(self.model) or TextRules()
        self._patterns: list[tuple[re.Pattern[str], str]] = []
        if self.rules.added:
            replacements = wrapped(self.rules, keeps_spaces=not removes_spaces(self.model))
            self._patterns = [(re.compile(pattern), rewrite) for pattern, rewrite in replacements]

    @cached_property
    def pieces(self) -> sentencepiece.SentencePieceProcessor:
        """SentencePiece itself."""
        return sentencepiece.SentencePieceProcessor(model_proto=self.model)

    @cached_property
    def graph(self) -> "GraphTokenizer":
        """The same as TensorFlow ops."""
        from softprompt_tf.backbones.tokenization.graph_tokenizer import make_graph_tokenizer

        return make_graph_tokenizer(self.model)

    def id_of(self, text: str) -> int | None:
        """Return the id of an added token, None where there is none of this text."""
        return next((token.token_id for token in self.rules.added if token.text == text), None)

    @property
    def answer_tokens(self) -> tuple[int, ...]:
        """The ids of added tokens that an answer shows: all but T5's special pieces and sentinels."""
        shown = (token for token in self.rules.added if token.text not in SPECIAL and not SENTINEL.match(token.text))
        return tuple(token.token_id for token in shown)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Turn texts into lists of ids, without an end of sequence."""
        if not texts:
            return []
        if self.rules.steps or self.rules.splits:  # one implementation, so that both say the same
            rows: list[list[int]] = self.graph.tokenize(list(texts)).to_list()
            return rows
        if not self.rules.added:
            ids: list[list[int]] = self.pieces.encode(list(texts))
            return ids
        return [
            [own_id(self.rules, piece) for piece in row] for row in self.pieces.encode(list(map(self._wrap, texts)))
        ]

    def decode(self, token_ids: Sequence[int]) -> str:
        """Turn ids into a text; of byT5's bytes, those that are no UTF-8 are left out."""
        if self._byte_texts is not None:
            return b"".join(self._byte_texts[token_id] for token_id in token_ids).decode("utf-8", errors="ignore")
        text: str = self.pieces.decode(list(token_ids))
        return text.removeprefix(" ") if self.rules.splits else text

    @cached_property
    def _byte_texts(self) -> list[bytes] | None:
        return byte_texts(self.model, self.rules.added)

    def _wrap(self, text: str) -> str:
        for pattern, rewrite in self._patterns:
            text = pattern.sub(rewrite, text)
        return text


def _with_rows(rules: TextRules, num_rows: int) -> TextRules:
    """Return the rules without T5's sentinels where one has no row, which is a T5 that was made without them.

    Raises:
      BackboneError: if another added token has no row.
    """
    without = [token for token in rules.added if not 0 <= token.token_id < num_rows]
    for token in without:
        if not SENTINEL.match(token.text):
            raise BackboneError(
                f"An added token must have a row in the embedding table. Received: {token.text!r} with id {token.token_id}, and "
                f"{num_rows} rows. Save the model after `resize_token_embeddings`, or remove the token from the tokenizer."
            )
    if not without:
        return rules
    return replace(rules, added=tuple(token for token in rules.added if not SENTINEL.match(token.text)))
