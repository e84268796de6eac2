"""Topics told by words of a text, by hand; and the lists of those words."""

import itertools
import re

import numpy as np
import pytest

from softprompt_tf.pretraining import topic_tasks
from softprompt_tf.pretraining.corpus import Corpus
from softprompt_tf.pretraining.passages import PassageSource
from softprompt_tf.pretraining.topic_tasks import ask_topic, topic_of_passage, topic_of_words, topic_words
from softprompt_tf.pretraining.topic_words import OPENING_NOUNS, TOPIC_NAMES, TOPIC_WORDS

ROWS = 120

# "screen" is a word of film and of technology, "player" of sport and of technology.
TOPICS = {
    "football tennis": "sport",
    "football": None,
    "football Football football.": None,
    "football tennis bank loan": None,
    "football tennis bank loan profit": "business",
    "“Tennis,” he said (football)!": "sport",
    "FOOTBALL and Tennis": "sport",
    "film screen": "film",
    "film screen browser": None,
    "film screen browser software": "technology",
    "player screen": "technology",
    "a quiet lane": None,
    "footballs tennises": None,
    "": None,
}


@pytest.fixture(scope="module")
def source(corpus):
    return PassageSource(corpus)


@pytest.fixture
def rows_without_instruction(monkeypatch):
    """Make the tasks return the bare text and the topic."""
    monkeypatch.setattr(topic_tasks, "ask_topic", lambda source, rng, topic, text: (text, topic))


def rows_of(task, source):
    drawn = (task(source, np.random.default_rng(seed)) for seed in itertools.count())
    return list(itertools.islice((row for row in drawn if row is not None), ROWS))


def plain_words(text):
    return [word.strip(".").lower() for word in text.split()]


# === Topics of words ===


@pytest.mark.parametrize(("text", "topic"), TOPICS.items(), ids=[text or "nothing" for text in TOPICS])
def test_topic_of_words_by_hand(text, topic):
    assert topic_of_words(text.split()) == topic


def test_order_of_the_words_does_not_matter():
    words = ["bank", "tennis", "loan", "profit", "football"]

    assert {topic_of_words(order) for order in itertools.permutations(words)} == {"business"}


# === Tasks ===


@pytest.mark.usefixtures("rows_without_instruction")
def test_topic_of_passage_is_told_by_two_words_of_it(source):
    # Of the corpus's words only "bridge" and "harbour" belong to one topic.
    for text, topic in rows_of(topic_of_passage, source):
        assert topic == "travel"
        assert {"bridge", "harbour"} <= set(plain_words(text))


def test_passage_with_one_word_of_a_topic_suits_no_row():
    source = PassageSource(Corpus(("book",), (("The bridge was old and the door was shut.",),)))

    assert all(topic_of_passage(source, np.random.default_rng(seed)) is None for seed in range(20))


@pytest.mark.usefixtures("rows_without_instruction")
def test_words_of_a_topic_stand_alone_or_in_a_passage_without_words_of_topics(source, corpus):
    every_word = {word for words in TOPIC_WORDS.values() for word in words}
    documents = [document for kind in corpus.documents for document in kind]
    alone = 0
    for text, topic in rows_of(topic_words, source):
        telling = [word for word in text.split() if word.strip(".").lower() in every_word]
        rest = " ".join(word for word in text.split() if word not in telling)

        assert set(telling) <= set(TOPIC_WORDS[topic])
        assert 2 <= len(set(telling)) == len(telling) <= 6
        assert any(rest in document for document in documents)
        alone += not rest
    # Half are meant to stand alone; passages with words of topics are left out of the other half.
    assert 0.5 * ROWS < alone < 0.95 * ROWS


@pytest.mark.usefixtures("rows_without_instruction")
def test_every_topic_with_words_is_asked_for(source):
    assert {topic for _, topic in rows_of(topic_words, source)} == set(TOPIC_WORDS)


def test_topic_is_asked_for_by_one_of_its_names_amid_names_of_others(source):
    for seed in range(100):
        inputs, answer = ask_topic(source, np.random.default_rng(seed), "war", "Some text.")
        words = re.findall(r"\w+", inputs)

        assert answer in ("war", "army", "military", "world")
        assert "Some text." in inputs
        assert words.count(answer) == 1
        # "politics" may be called "world" too, so none of its names is offered.
        assert not {"politics", "government", "nations", "state"} & set(words)


# === Word lists ===


@pytest.mark.parametrize("lists", [TOPIC_NAMES, TOPIC_WORDS], ids=["names", "words"])
def test_no_topic_lists_a_word_twice(lists):
    for words in lists.values():
        assert len(set(words)) == len(words)


def test_every_topic_that_a_word_tells_has_names():
    assert set(TOPIC_WORDS) <= set(TOPIC_NAMES)
    assert {topic for _, topic in OPENING_NOUNS} <= set(TOPIC_NAMES)


def test_every_topic_word_can_be_found_in_a_text():
    assert all(re.fullmatch("[a-z]+", word) for words in TOPIC_WORDS.values() for word in words)


def test_no_two_topics_share_two_words():
    # Two words of one topic tell that topic and no other; `topic_words` relies on it.
    for first, second in itertools.combinations(TOPIC_WORDS.values(), 2):
        assert len(set(first) & set(second)) < 2


def test_every_topic_can_be_asked_for_amid_six_others():
    for names in TOPIC_NAMES.values():
        assert sum(not set(names) & set(others) for others in TOPIC_NAMES.values()) >= 6


def test_every_topic_has_one_row_of_opening_nouns():
    topics = [topic for _, topic in OPENING_NOUNS]

    assert len(set(topics)) == len(topics)
