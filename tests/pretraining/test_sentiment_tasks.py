"""Praise and blame told by words, by hand; remarks put together from such words; and the lists of the words."""

import itertools
import re

import numpy as np
import pytest

from softprompt_tf.pretraining import sentiment_tasks, sentiment_words
from softprompt_tf.pretraining.corpus import Corpus
from softprompt_tf.pretraining.passages import PassageSource
from softprompt_tf.pretraining.sentiment_tasks import feeling, polarity, remark
from softprompt_tf.pretraining.sentiment_words import BLAME, NEGATIONS, POLARITY_PAIRS, PRAISE

# name -> (sentences, do they praise?)
REVIEWS = {
    "Ilford": (("Ilford cooked a delicious supper for us.", "The room at Ilford had a charming view."), True),
    "Jocelin": (("The road to Jocelin was dreadful.", "At Jocelin we met a cruel landlord."), False),
    "Kestrel": (("The soup at Kestrel was never good.", "Nobody thanked the cook of Kestrel."), False),
    "Lambert": (("There was not a dull evening with Lambert.", "Lambert told us splendid tales."), True),
    "Mowbray": (("Mowbray gave us no warm bed.", "We left Mowbray tired and sick."), False),
}
TELLING = "delicious|charming|dreadful|cruel|good|dull|splendid|warm|tired|sick"

POSITIVE = {"positive", "good", "great", "happy", "pleasant", "praise", "like", "love", "wonderful"}
NEGATIVE = {"negative", "bad", "terrible", "sad", "unpleasant", "blame", "dislike", "hate", "awful"}
LISTS = ("PRAISE_ADJECTIVES", "PRAISE_NOUNS", "PRAISE_VERBS", "BLAME_ADJECTIVES", "BLAME_NOUNS", "BLAME_VERBS")
ROWS = 200


@pytest.fixture(scope="module")
def reviews():
    return PassageSource(Corpus(("speech",), (tuple(" ".join(sentences) for sentences, _ in REVIEWS.values()),)))


@pytest.fixture(scope="module")
def source(corpus):
    return PassageSource(corpus)


@pytest.fixture
def rows_without_instruction(monkeypatch):
    """Make the tasks return the bare text and the answer."""
    monkeypatch.setattr(sentiment_tasks, "pose", lambda rng, question, options, text, *, noise=(): text)


def rows_of(task, source):
    drawn = (task(source, np.random.default_rng(seed)) for seed in itertools.count())
    return list(itertools.islice((row for row in drawn if row is not None), ROWS))


def clauses_of(text):
    return re.split(r" ?\.\.\. | , |, |\. | and ", text)


# === Polarity ===

POLARITIES = {
    "a good meal": (True, {1}),
    "a bad meal": (False, {1}),
    "a good and a bad meal": None,
    "a table and a chair": None,
    "not a good meal": (False, {2}),
    "never dull": (True, {1}),
    "not bad at all, but beautiful": (True, {1, 5}),
    "not bad, but beautiful": None,  # a no reaches three words far
    "no one was good": (False, {3}),
    "no one there was good": (True, {4}),
    "“Splendid!” he cried.": (True, {0}),
    "Good and not good": None,
    "it isn’t good": (False, {2}),
    "the meal lacks flavour": (False, {2}),
    "full of life": None,  # praise in a remark, but no sign of it in a passage
    "a cold meal": None,
}


@pytest.mark.parametrize(("text", "expected"), POLARITIES.items(), ids=POLARITIES)
def test_polarity_by_hand(text, expected):
    assert polarity(text.split()) == expected


# === Passages ===


def test_feeling_is_that_of_the_review(reviews):
    blanks = 0
    for inputs, target in rows_of(feeling, reviews):
        praises = {praises for name, (_, praises) in REVIEWS.items() if any(part in inputs for part in parts_of(name))}

        assert praises == {target in POSITIVE}
        assert target in POSITIVE | NEGATIVE
        blanks += "___" in inputs
    assert blanks / ROWS == pytest.approx(0.2, abs=0.1)


def parts_of(name):
    """Return the sentences of a review, whole and with the telling words blanked out."""
    sentences = REVIEWS[name][0]
    return [*sentences, *(re.sub(rf"\S*\b(?:{TELLING})\b\S*", "___", sentence) for sentence in sentences)]


def test_both_answers_of_a_feeling_are_offered(reviews):
    for inputs, target in rows_of(feeling, reviews):
        offered = set(re.findall(r"\w+", inputs))

        assert target in offered
        assert offered & POSITIVE
        assert offered & NEGATIVE


def test_passage_that_tells_nothing_suits_no_feeling():
    source = PassageSource(Corpus(("speech",), (("The table stood by the chair of oak.",),)))

    assert all(feeling(source, np.random.default_rng(seed)) is None for seed in range(50))


# === Remarks ===


@pytest.mark.usefixtures("rows_without_instruction")
def test_answer_of_a_remark_is_the_polarity_of_its_parts(source):
    told = 0
    for text, target in rows_of(remark, source):
        sides = {found[0] for found in (polarity(clause.split()) for clause in clauses_of(text)) if found}

        assert sides <= {target in POSITIVE}
        told += bool(sides)
    # The rest holds words such as "art" and "cold", which tell nothing in a passage.
    assert told > 0.95 * ROWS


@pytest.mark.usefixtures("rows_without_instruction")
def test_some_remarks_praise_or_blame_by_a_negated_word_alone(source):
    negated = {True: 0, False: 0}
    for text, target in rows_of(remark, source):
        words = re.findall(r"[\w'-]+", text.lower())
        telling = {word in PRAISE for word in words if word in PRAISE | BLAME}
        negated[target in POSITIVE] += telling == {target in NEGATIVE}
    assert min(negated.values()) > 0.02 * ROWS


@pytest.mark.usefixtures("rows_without_instruction")
def test_remarks_praise_as_often_as_they_blame(source):
    rows = rows_of(remark, source)

    assert sum(target in POSITIVE for _, target in rows) / ROWS == pytest.approx(0.5, abs=0.1)
    assert sum(text == text.lower() for text, _ in rows) > 0.4 * ROWS


@pytest.mark.usefixtures("rows_without_instruction")
def test_thing_that_a_remark_is_about_is_no_word_of_feeling_or_negation():
    source = PassageSource(Corpus(("speech",), (("Never nothing hardly without neither splendid dreadful.",),)))

    for text, _ in rows_of(remark, source):
        things = re.findall(r"\bthe (\w+) is\b|\b(?:in|of) the (\w+)", text.lower())
        assert {thing for pair in things for thing in pair if thing} <= {"book", "play", "story"}


@pytest.mark.usefixtures("rows_without_instruction")
def test_words_of_a_passage_around_a_remark_tell_nothing(reviews):
    # A passage that praises stands beside remarks that blame, without its telling words.
    beside = 0
    for text, _ in rows_of(remark, reviews):
        if "cooked a supper for us" in text.lower():
            beside += 1
        assert not re.search("cooked a delicious", text, re.IGNORECASE)
    assert beside > 0


def test_both_answers_of_a_remark_are_offered(source):
    pairs = [set(pair) for pair in POLARITY_PAIRS]
    for inputs, target in rows_of(remark, source):
        words = set(re.findall(r"\w+", inputs))

        assert any(target in pair and pair <= words for pair in pairs)


# === Word lists ===


def test_no_word_is_of_praise_and_of_blame():
    assert not PRAISE & BLAME


@pytest.mark.parametrize("name", LISTS)
def test_no_list_holds_a_word_twice(name):
    words = getattr(sentiment_words, name)

    assert len(set(words)) == len(words)


def test_no_word_of_praise_is_in_a_list_of_blame():
    praise, blame = (
        {word for name in LISTS if name.startswith(side) for word in getattr(sentiment_words, name)}
        for side in ("PRAISE", "BLAME")
    )

    # Also the words that tell nothing in a passage, such as "art" and "cold": remarks use them.
    assert not praise & blame


def test_every_word_is_written_as_it_is_looked_up():
    for word in PRAISE | BLAME | NEGATIONS:
        assert re.fullmatch(r"[a-z]+(?:[-'][a-z]+)*", word)


def test_negations_tell_nothing_themselves_but_for_lacks():
    assert {"lacks"} == NEGATIONS & (PRAISE | BLAME)


def test_answers_are_pairs_of_praise_and_blame():
    praise, blame = zip(*POLARITY_PAIRS, strict=True)

    assert set(praise) == POSITIVE
    assert set(blame) == NEGATIVE
    assert len(POLARITY_PAIRS) == len(POSITIVE)
