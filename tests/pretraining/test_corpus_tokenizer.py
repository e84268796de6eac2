"""Texts of a corpus become the ids that the T5 itself makes of them."""

import pytest
import sentencepiece
from tiny_t5 import tiny_vocabulary

from softprompt_tf.backbones.tokenization.text_rules import AddedToken, TextRules, with_rules
from softprompt_tf.errors import DataError
from softprompt_tf.pretraining.corpus_tokenizer import corpus_tokenizer, without_rules

RULES = TextRules(added=(AddedToken("<org>", 121),), steps=(("lower",),))


@pytest.fixture(scope="module")
def ruled():
    return corpus_tokenizer(with_rules(tiny_vocabulary(), RULES), num_rows=224)


@pytest.fixture(scope="module")
def alone():
    return sentencepiece.SentencePieceProcessor(model_proto=tiny_vocabulary())


def test_small_letters_and_added_tokens_of_a_tokenizer_are_used(ruled, alone):
    assert ruled.encode("THE River <org> a FILM") == [*alone.encode("the river"), 121, *alone.encode("a film")]


def test_several_texts_become_a_list_for_each(ruled, alone):
    assert ruled.encode(["A Film", ""]) == [alone.encode("a film"), []]


def test_t5s_own_vocabulary_is_sentencepiece_alone(alone):
    tokenizer = corpus_tokenizer(tiny_vocabulary(), num_rows=224)

    assert without_rules(tokenizer) is tokenizer
    assert tokenizer.encode("THE river") == alone.encode("THE river")


def test_bits_per_byte_with_such_a_tokenizer_are_refused(ruled):
    with pytest.raises(DataError, match="SentencePiece alone. Received: one with added tokens or other steps"):
        without_rules(ruled)
