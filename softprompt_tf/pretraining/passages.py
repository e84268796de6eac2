"""Draw random passages of complete sentences from a corpus."""

import re
from dataclasses import dataclass

import numpy as np

from softprompt_tf.pretraining.corpus import Corpus

_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’)]?\s+(?=[\"'“‘(]?[A-Z])")
_CHUNK_CHARACTERS = 1500
_MAX_SENTENCE_WORDS = 60


@dataclass(frozen=True)
class Passage:
    """A few whole sentences in a row.

    Args:
      kind: the kind of text, such as "book".
      sentences: at least one.
      document: the whole document that they stand in.
    """

    kind: str
    sentences: tuple[str, ...]
    document: str

    @property
    def text(self) -> str:
        """The sentences, joined by one space each."""
        return " ".join(self.sentences)


def split_sentences(text: str) -> list[str]:
    """Split at sentence ends before a capital letter; abbreviations there split too, which does no harm."""
    return [sentence.strip() for sentence in _SENTENCE_END.split(text) if sentence.strip()]


class PassageSource:
    """Draws passages: first the kind, then a document, then a place in it.

    Args:
      corpus: where the passages come from.
      kind_weights: how often each kind is drawn; kinds that are left out are drawn in proportion to 1.
    """

    def __init__(self, corpus: Corpus, kind_weights: dict[str, float] | None = None):
        weights = np.array([(kind_weights or {}).get(kind, 1.0) for kind in corpus.kinds])
        self.corpus = corpus
        self._probabilities = weights / weights.sum()

    def draw_kind(self, rng: np.random.Generator) -> str:
        """Return a kind, drawn by its weight."""
        return self.corpus.kinds[int(rng.choice(len(self._probabilities), p=self._probabilities))]

    def draw_document(self, rng: np.random.Generator, kind: str | None = None) -> tuple[str, str]:
        """Return a kind and one document of it."""
        kind = kind or self.draw_kind(rng)
        documents = self.corpus.documents[self.corpus.kinds.index(kind)]
        return kind, documents[int(rng.integers(len(documents)))]

    def draw(self, rng: np.random.Generator, *, max_words: int, kind: str | None = None) -> Passage:
        """Return whole sentences of at most `max_words` words together; one longer sentence is cut."""
        kind, document = self.draw_document(rng, kind)
        sentences = split_sentences(_chunk(document, rng))
        start = int(rng.integers(len(sentences)))
        taken: list[str] = []
        num_words = 0
        for sentence in sentences[start:]:
            words = sentence.split()[:_MAX_SENTENCE_WORDS]
            if taken and num_words + len(words) > max_words:
                break
            taken.append(" ".join(words[:max_words]))
            num_words += len(words)
        return Passage(kind=kind, sentences=tuple(taken), document=document)


def _chunk(document: str, rng: np.random.Generator) -> str:
    """Cut a long document to a random stretch that starts after a space."""
    if len(document) <= _CHUNK_CHARACTERS:
        return document
    start = int(rng.integers(len(document) - _CHUNK_CHARACTERS))
    chunk = document[start : start + _CHUNK_CHARACTERS]
    sentences = _SENTENCE_END.split(chunk)
    return " ".join(sentences[1:-1]) if len(sentences) > 2 else chunk.partition(" ")[2] or chunk
