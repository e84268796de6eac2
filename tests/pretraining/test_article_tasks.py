"""Tasks on encyclopedia articles whose topics and definitions are known from the table below.

Each article has a name of its own in each of its sentences, so that a row's text tells which article it came from.
"""

import itertools
import re

import numpy as np
import pytest

from softprompt_tf.pretraining.article_tasks import (
    article_topic,
    choose_definition,
    definition,
    related_word,
    subject,
)
from softprompt_tf.pretraining.corpus import Corpus
from softprompt_tf.pretraining.passages import PassageSource
from softprompt_tf.pretraining.topic_words import OPENING_NOUNS, TOPIC_NAMES

# name -> (the article's opening behind the name, its topic, its definition without "a" or "the")
ARTICLES = {
    "Borun": ("is a retired footballer from the north, who played for two clubs.", "sport", "retired footballer"),
    "Calmeta": ("was a bank that lent to farmers.", "business", "bank"),
    "Dervish Lane": ("is the third album of a quartet, made in one week.", "music", "third album of a quartet"),
    "Etheline": ("is a species of moth, seen at dusk.", "science", "species of moth"),
    "Fornwick": ("is a village on a hill which has one street.", "place", "village on a hill"),
    "Gundred": ("was an officer of the guard, sent away twice.", "war", "officer of the guard"),
    "Hesper": ("is one of the dishes of the coast, eaten cold.", "food", "dishes of the coast"),
    "Ixworth": ("is the word for an oath, used by two bakers.", None, "word for an oath"),
}
MORE_OF_AN_ARTICLE = (
    "Little else is told of {}.",
    "Many letters mention {} by that name.",
    "Nobody wrote on {} later.",
)
# Words of five letters or more that only the second half of an article holds.
LATER_WORDS = {"letters", "mention", "Nobody", "wrote", "later"}
ARTICLE_TASKS = (subject, definition, choose_definition, related_word)
ROWS = 80


def article(name, opening):
    return " ".join([f"{name} {opening}", *(sentence.format(name) for sentence in MORE_OF_AN_ARTICLE)])


DOCUMENTS = {name: article(name, opening) for name, (opening, _, _) in ARTICLES.items()}
SENTENCES = [sentence for text in DOCUMENTS.values() for sentence in re.split(r"(?<=\.) ", text)]


@pytest.fixture(scope="module")
def source():
    books = ("The hall was dark and the door stood open. Nobody came.",)
    return PassageSource(Corpus(("book", "article"), (books, tuple(DOCUMENTS.values()))))


def rows_of(task, source, count=ROWS):
    """Return the rows of the first seeds; those of passages that do not suit the task are left out."""
    drawn = (task(source, np.random.default_rng(seed)) for seed in range(40 * count))
    rows = list(itertools.islice((row for row in drawn if row is not None), count))
    assert len(rows) == count
    return rows


def split_row(inputs):
    """Return the sentences of the corpus that the inputs show, and the rest of the inputs."""
    shown = [sentence for sentence in SENTENCES if sentence in inputs]
    return shown, re.sub("|".join(map(re.escape, shown)), "", inputs)


def name_in(text):
    """Return the one of the names that the text mentions."""
    (name,) = [name for name in ARTICLES if name in text]
    return name


# === The topic of an article ===


@pytest.mark.parametrize("name", ARTICLES)
def test_article_topic_by_hand(name):
    assert article_topic(DOCUMENTS[name]) == ARTICLES[name][1]


OPENINGS = {
    "was an American physician.": "health",
    "was a French physicist.": "science",
    "was the mother of two kings.": None,
    "are the moths of the marsh.": "science",
    "was a military operation.": "war",
    "is an opera in two acts.": "music",
    "is the port authority of the town.": "place",
    "was an author of the coast.": "books",
    "is a football club owned by a bank.": "sport",
    "is a law firm.": "business",
    "is a footpath.": None,
    "is an apple.": None,
    "is an app.": "technology",
    "sold books.": None,
}


@pytest.mark.parametrize(("opening", "topic"), OPENINGS.items(), ids=OPENINGS)
def test_topic_of_an_opening_by_hand(opening, topic):
    assert article_topic(f"Kelby {opening}") == topic


def test_every_plain_opening_noun_tells_its_own_topic():
    # A noun that an earlier row takes away would never be reached.
    for pattern, topic in OPENING_NOUNS:
        for noun in pattern.replace(r"\b", "").split("|"):
            if noun.replace(" ", "").isalpha():
                assert article_topic(f"Kelby is a {noun} of old.") == topic, noun


def test_article_without_an_opening_has_no_topic():
    assert article_topic("Football! Football! The crowd went home early.") is None


def test_opening_far_into_the_article_tells_no_topic():
    assert article_topic(f"{'Kelby ' * 80}is a footballer.") is None


# === Tasks ===


def test_subject_is_that_of_the_articles_opening(source):
    seen = set()
    opening_shown = 0
    for inputs, target in rows_of(subject, source, count=200):
        shown, instruction = split_row(inputs)
        name = name_in(" ".join(shown))

        assert target in TOPIC_NAMES[ARTICLES[name][1]]
        assert re.search(rf"\b{target}\b", instruction)
        seen.add(name)
        opening_shown += ARTICLES[name][0] in inputs
    assert seen == {name for name, (_, topic, _) in ARTICLES.items() if topic}
    assert opening_shown / 200 == pytest.approx(0.3, abs=0.1)


def test_definition_is_the_articles_own(source):
    for inputs, target in rows_of(definition, source):
        name = name_in(inputs)

        assert target == ARTICLES[name][2]
        assert inputs == f"What is {name}? {' '.join(sentence.format(name) for sentence in MORE_OF_AN_ARTICLE)}"


def test_definition_ends_after_six_words():
    text = "Kelby is a very small red house of stone and glass. It is old. It is cold."
    source = PassageSource(Corpus(("article",), ((text,),)))

    assert definition(source, np.random.default_rng(0)) == (
        "What is Kelby? It is old. It is cold.",
        "very small red house of stone",
    )


def test_right_definition_is_offered_once_and_others_beside_it(source):
    definitions = [definition for _, _, definition in ARTICLES.values()]
    counts = set()
    for inputs, target in rows_of(choose_definition, source):
        shown, instruction = split_row(inputs)
        name = name_in(" ".join(shown))
        others = [other for other in definitions if other != target and other in instruction]

        assert target == ARTICLES[name][2]
        assert instruction.count(target) == 1
        assert ARTICLES[name][0] not in inputs
        assert 1 <= len(others) <= 3
        counts.add(len(others))
    assert counts == {1, 2, 3}


def test_articles_of_one_definition_offer_no_choice():
    texts = tuple(f"{name} is a mill. It is old. It is cold." for name in ("Kelby", "Lorne", "Marsk"))
    source = PassageSource(Corpus(("article",), (texts,)))

    assert all(choose_definition(source, np.random.default_rng(seed)) is None for seed in range(30))


def test_related_word_is_of_the_articles_second_half_and_others_stand_nowhere_in_it(source):
    for inputs, target in rows_of(related_word, source):
        shown, instruction = split_row(inputs)
        (name,) = [name for name, (opening, _, _) in ARTICLES.items() if opening in inputs]

        assert shown == [f"{name} {ARTICLES[name][0]}", MORE_OF_AN_ARTICLE[0].format(name)]
        assert target in LATER_WORDS
        assert len(re.findall(rf"\b{target}\b", inputs)) == 1
        rest = re.sub(r"Which word is related\?|Which word goes with it\?|Related:", "", instruction)
        wrong = [word for word in re.findall(r"\w+", rest) if word != target]
        assert 1 <= len(wrong) <= 3
        assert not any(word.lower() in DOCUMENTS[name].lower() for word in wrong)


# === Where a task does not suit ===


@pytest.mark.parametrize("task", ARTICLE_TASKS)
def test_corpus_without_articles_gives_no_row(task):
    source = PassageSource(Corpus(("book",), (tuple(DOCUMENTS.values()),)))

    assert all(task(source, np.random.default_rng(seed)) is None for seed in range(20))


@pytest.mark.parametrize("task", ARTICLE_TASKS)
def test_article_of_one_sentence_gives_no_row(task):
    source = PassageSource(Corpus(("article",), (("Calmeta was a bank that lent to farmers of the coast.",),)))

    assert all(task(source, np.random.default_rng(seed)) is None for seed in range(20))


@pytest.mark.parametrize("task", [subject, definition, choose_definition])
def test_article_without_an_opening_gives_no_row(task):
    source = PassageSource(Corpus(("article",), (("Football! The crowd went home. They sang. Rain fell.",),)))

    assert all(task(source, np.random.default_rng(seed)) is None for seed in range(20))
