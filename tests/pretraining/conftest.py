"""A corpus that is made, not found: a few hundred short sentences about invented places, the same at every run."""

import random

import pytest
import sentencepiece

from softprompt_tf.pretraining.corpus import Corpus
from softprompt_tf.pretraining.vocabulary import train_vocabulary

NAMES = ("Orvel", "Tessik", "Marnow", "Quillan", "Besra", "Hadlock", "Vorne", "Issel", "Pruda", "Colmer")
THINGS = ("mill", "bridge", "harbour", "orchard", "chapel", "market", "tower", "garden", "quarry", "school")
VERBS = ("stands near", "was built beside", "lies behind", "looks over", "belongs to", "was sold with")
COLOURS = ("green", "grey", "yellow", "narrow", "wooden", "quiet", "broad", "famous", "windy", "old")
NUM_PIECES = 80


def make_document(kind, number):
    """Return one document of six sentences, drawn from the words above."""
    draw = random.Random(f"{kind} {number}").choice
    first = f"The {draw(THINGS)} of {draw(NAMES)} is a {draw(COLOURS)} {kind} of the province of {draw(NAMES)}."
    rest = [
        f"The {draw(COLOURS)} {draw(THINGS)} {draw(VERBS)} the {draw(COLOURS)} {draw(THINGS)} of {draw(NAMES)}."
        for _ in range(5)
    ]
    return " ".join([first, *rest])


@pytest.fixture(scope="session")
def corpus():
    kinds = ("book", "article")
    return Corpus(kinds, tuple(tuple(make_document(kind, number) for number in range(40)) for kind in kinds))


@pytest.fixture(scope="session")
def vocabulary(corpus):
    """A serialized SentencePiece model of 80 pieces."""
    return train_vocabulary((text for kind in corpus.documents for text in kind), num_pieces=NUM_PIECES)


@pytest.fixture(scope="session")
def tokenizer(vocabulary):
    return sentencepiece.SentencePieceProcessor(model_proto=vocabulary)
