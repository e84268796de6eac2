"""The vocabulary: T5's special ids, the size asked for, that training it again gives the same bytes, and what is no vocabulary."""

import io
import itertools

import pytest
import sentencepiece

from softprompt_tf.errors import DataError
from softprompt_tf.pretraining.vocabulary import read_vocabulary, train_vocabulary


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


def test_a_vocabulary_is_read_as_it_is(tokenizer, tmp_path):
    (tmp_path / "v.spm").write_bytes(tokenizer.serialized_model_proto())

    assert read_vocabulary(tmp_path / "v.spm", max_pieces=80) == tokenizer.serialized_model_proto()


def test_a_missing_vocabulary_is_an_error(tmp_path):
    with pytest.raises(
        DataError, match=r"must be a SentencePiece model's file\. Received: .*gone\.spm \(.*No such file"
    ):
        read_vocabulary(tmp_path / "gone.spm", max_pieces=80)


@pytest.mark.parametrize("content", [b"", b"not a model"], ids=["empty", "text"])
def test_a_file_of_something_else_is_an_error(tmp_path, content):
    (tmp_path / "v.spm").write_bytes(content)

    with pytest.raises(DataError, match=r"must be a SentencePiece model's file\. Received: .*v\.spm"):
        read_vocabulary(tmp_path / "v.spm", max_pieces=80)


def test_more_pieces_than_rows_are_an_error(tokenizer, tmp_path):
    (tmp_path / "v.spm").write_bytes(tokenizer.serialized_model_proto())

    with pytest.raises(DataError, match=r"may have 79 pieces at most.* Received: 80 pieces in .*v\.spm"):
        read_vocabulary(tmp_path / "v.spm", max_pieces=79)


def test_special_ids_of_another_kind_are_an_error(corpus, tmp_path):
    model = io.BytesIO()  # SentencePiece's own layout: 0 unknown, 1 and 2 the ends, no padding
    texts = itertools.chain(*corpus.documents)
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=texts, model_writer=model, vocab_size=60, minloglevel=2)
    (tmp_path / "v.spm").write_bytes(model.getvalue())

    with pytest.raises(DataError, match=r"0 for padding, 1 for end .* Received: -1, 2 and 0 in .*v\.spm"):
        read_vocabulary(tmp_path / "v.spm", max_pieces=80)
