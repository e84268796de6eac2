"""Passages: where sentences end, how long a passage is, and how often each kind is drawn."""

import numpy as np
import pytest

from softprompt_tf.pretraining.corpus import Corpus
from softprompt_tf.pretraining.passages import PassageSource, split_sentences

SENTENCES = {
    "He came. She left! Why? It rained.": ["He came.", "She left!", "Why?", "It rained."],
    "It cost 3.50 in all. then no capital.": ["It cost 3.50 in all. then no capital."],
    'He came. "Sit down," she said. (Nobody did.)': ["He came.", '"Sit down," she said.', "(Nobody did.)"],
    "  One.   Two.  ": ["One.", "Two."],
    "": [],
}


@pytest.mark.parametrize(("text", "sentences"), SENTENCES.items(), ids=range(len(SENTENCES)))
def test_sentences_end_before_a_capital_letter(text, sentences):
    assert split_sentences(text) == sentences


def test_passages_are_whole_sentences_of_one_document_within_the_limit(corpus):
    source = PassageSource(corpus)
    for seed in range(200):
        passage = source.draw(np.random.default_rng(seed), max_words=30)

        assert passage.document in corpus.documents[corpus.kinds.index(passage.kind)]
        assert passage.text in passage.document
        assert passage.text.endswith(".")
        assert len(passage.text.split()) <= 30
        assert passage.text == " ".join(passage.sentences)


def test_one_sentence_over_the_limit_is_cut(corpus):
    source = PassageSource(corpus)

    passage = source.draw(np.random.default_rng(0), max_words=4)

    assert len(passage.sentences) == 1
    assert len(passage.text.split()) == 4
    assert passage.text in passage.document


def test_long_documents_are_drawn_from_everywhere():
    document = " ".join(f"Sentence {number} of many stands here." for number in range(400))
    source = PassageSource(Corpus(("book",), ((document,),)))

    passages = [source.draw(np.random.default_rng(seed), max_words=12) for seed in range(200)]

    numbers = [int(passage.text.split()[1]) for passage in passages]
    assert all(passage.text in document for passage in passages)
    assert min(numbers) < 80
    assert max(numbers) > 320


def test_same_seed_draws_the_same_passage(corpus):
    first, second = (PassageSource(corpus).draw(np.random.default_rng(5), max_words=40) for _ in range(2))

    assert first == second


def test_kinds_are_drawn_by_their_weights_and_a_kind_left_out_has_weight_1():
    document = ("One short document.",)
    source = PassageSource(Corpus(("book", "article", "speech"), (document,) * 3), {"article": 2.0, "speech": 0.0})
    rng = np.random.default_rng(0)

    drawn = [source.draw(rng, max_words=5).kind for _ in range(3000)]

    assert drawn.count("speech") == 0
    assert drawn.count("article") == pytest.approx(2000, abs=120)


def test_a_kind_that_is_asked_for_is_the_kind_drawn(corpus):
    source = PassageSource(corpus)
    rng = np.random.default_rng(0)

    assert {source.draw(rng, max_words=20, kind="article").kind for _ in range(20)} == {"article"}
    assert {source.draw_document(rng, "book")[0] for _ in range(20)} == {"book"}
