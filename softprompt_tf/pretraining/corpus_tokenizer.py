"""Tokenize a corpus as the T5 that is trained does: by SentencePiece alone, or with all that its tokenizer does besides."""

from collections.abc import Sequence
from typing import Any

import sentencepiece

from softprompt_tf.backbones.tokenization.text_pieces import TextPieces
from softprompt_tf.errors import DataError


class RuledTokenizer:
    """A tokenizer with added tokens, or steps around SentencePiece, by the names of SentencePiece's own.

    Args:
      pieces: the tokenizer.
    """

    def __init__(self, pieces: TextPieces):
        self._pieces = pieces

    def encode(self, texts: str | Sequence[str]) -> Any:
        """Turn a text into ids, or several into lists of them."""
        return self._pieces.encode([texts])[0] if isinstance(texts, str) else self._pieces.encode(texts)


CorpusTokenizer = sentencepiece.SentencePieceProcessor | RuledTokenizer


def corpus_tokenizer(model: bytes, *, num_rows: int) -> CorpusTokenizer:
    """Return what makes ids of a corpus.

    Args:
      model: a serialized SentencePiece model, with rules or without.
      num_rows: of the embedding table.
    """
    pieces = TextPieces(model, num_rows=num_rows)
    if pieces.rules.beyond_t5():
        return RuledTokenizer(pieces)
    return sentencepiece.SentencePieceProcessor(model_proto=model)


def without_rules(tokenizer: CorpusTokenizer) -> sentencepiece.SentencePieceProcessor:
    """Return a tokenizer that is SentencePiece alone, whose tokens say how many bytes of a text they stand for.

    Raises:
      DataError: for one that does more.
    """
    if isinstance(tokenizer, RuledTokenizer):
        raise DataError(
            "Bits per byte are measured for tokenizers that are SentencePiece alone. Received: one with added tokens or "
            "other steps. Leave the text to measure out."
        )
    return tokenizer
