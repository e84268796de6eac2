"""The vocabulary: T5's special ids, the size asked for, and that training it again gives the same bytes."""

import itertools

import pytest
import sentencepiece

from softprompt_tf.errors import DataError
from softprompt_tf.pretraining.vocabulary import train_vocabulary


def test_special_ids_are_those_of_t5(tokenizer):
    assert [tokenizer.id_to_piece(k) for k in range(3)] == ["<pad>", "</s>", "<unk>"]
    assert (tokenizer.pad_id(), tokenizer.eos_id(), tokenizer.unk_id(), tokenizer.bos_id()) == (0, 1, 2, -1)


def test_size_is_the_number_of_pieces_asked_for(tokenizer):
    assert tokenizer.get_piece_size() == 80


def test_texts_of_the_corpus_come_back_from_their_ids(corpus, tokenizer):
    for document in itertools.chain(*corpus.documents):
        ids = tokenizer.encode(document)

        assert tokenizer.decode(ids) == document
        assert min(ids) > 2


def test_unknown_characters_are_id_2(tokenizer):
    assert 2 in tokenizer.encode("Ω")


@pytest.mark.parametrize("max_documents", [400, 20], ids=["all", "some"])
def test_training_again_gives_the_same_bytes(corpus, max_documents):
    trained = [
        train_vocabulary(itertools.chain(*corpus.documents), num_pieces=60, max_documents=max_documents, seed=3)
        for _ in range(2)
    ]

    assert trained[0] == trained[1]


def test_seed_decides_which_documents_are_looked_at(corpus):
    def of_seed(seed):
        return train_vocabulary(itertools.chain(*corpus.documents), num_pieces=60, max_documents=20, seed=seed)

    assert of_seed(0) != of_seed(1)


def test_only_the_first_1000_characters_of_a_document_are_looked_at():
    words = "red green blue white black brown grey pink "
    beyond = [words * 30 + "ω" * 500] * 5  # the words alone are over 1000 characters

    proto = train_vocabulary(beyond, num_pieces=24)

    assert 2 in sentencepiece.SentencePieceProcessor(model_proto=proto).encode("ω")


def test_too_few_texts_for_the_size_are_an_error():
    with pytest.raises(DataError, match=r"enough for a vocabulary of 500 pieces\. Received: 2 texts \(.*size too high"):
        train_vocabulary(["Two short texts.", "They hold few pieces."], num_pieces=500)
