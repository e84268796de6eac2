"""Instruction tasks that ask for the topic of a passage or of a few words."""

from collections.abc import Sequence

import numpy as np

from softprompt_tf.pretraining.passages import PassageSource
from softprompt_tf.pretraining.posing import Row, pick, pose_named
from softprompt_tf.pretraining.topic_words import TOPIC_NAMES, TOPIC_WORDS

_QUESTIONS = ("What is it about?", "Which topic?", "Subject:", "Section:")
_TOPICS_OF: dict[str, frozenset[str]] = {
    word: frozenset(topic for topic, words in TOPIC_WORDS.items() if word in words)
    for word in sorted({word for words in TOPIC_WORDS.values() for word in words})
}
_MARKS = ".,;:!?\"'“”‘’()-"


def topic_of_passage(source: PassageSource, rng: np.random.Generator) -> Row | None:
    """What is the passage about? At least two words of one topic, and more than of any other, tell."""
    text = source.draw(rng, max_words=36).text
    topic = topic_of_words(text.split())
    return None if topic is None else ask_topic(source, rng, topic, text)


def topic_of_words(words: Sequence[str]) -> str | None:
    """Return the topic that two or more different words tell, and more than tell any other, or None."""
    counts: dict[str, int] = {}
    for word in {word.lower().strip(_MARKS) for word in words}:
        for topic in _TOPICS_OF.get(word, ()):
            counts[topic] = counts.get(topic, 0) + 1
    ranked = sorted(counts.values(), reverse=True)
    if not ranked or ranked[0] < 2 or (len(ranked) > 1 and ranked[1] == ranked[0]):
        return None
    return max(counts, key=lambda topic: counts[topic])


def topic_words(source: PassageSource, rng: np.random.Generator) -> Row | None:
    """Which topic do a few words belong to? They stand alone or in the middle of a passage."""
    topic = pick(rng, tuple(TOPIC_WORDS))
    count = int(rng.integers(2, 7))
    words = rng.permutation(TOPIC_WORDS[topic])[:count].tolist()
    if rng.random() < 0.5:
        return ask_topic(source, rng, topic, " ".join(words))
    around = source.draw(rng, max_words=24).text.split()
    if any(_TOPICS_OF.get(word.lower().strip(_MARKS)) for word in around):
        return None
    for word in words:
        around.insert(int(rng.integers(len(around) + 1)), word)
    return ask_topic(source, rng, topic, " ".join(around))


def ask_topic(source: PassageSource, rng: np.random.Generator, topic: str, text: str) -> Row:
    """Ask for the topic of a text, in an instruction that offers other topics beside it."""
    return pose_named(source, rng, questions=_QUESTIONS, names=TOPIC_NAMES, right=topic, text=text)
