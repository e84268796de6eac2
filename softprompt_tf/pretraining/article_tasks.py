"""Instruction tasks from encyclopedia articles: what is this about, what is its definition?"""

import re

import numpy as np

from softprompt_tf.pretraining.passages import PassageSource, split_sentences
from softprompt_tf.pretraining.posing import Row, draw_word, pick, pose
from softprompt_tf.pretraining.topic_tasks import ask_topic
from softprompt_tf.pretraining.topic_words import OPENING_NOUNS

_ARTICLE = "article"
_OPENING = re.compile(r"\b(?:is|was|are|were) (?:an?|the|one of the) ([^.;]{3,120})")
_END_OF_PHRASE = re.compile(r",| who | which | that | from | based | in the | located ")
_SHOWN_WORDS = 34


def subject(source: PassageSource, rng: np.random.Generator) -> Row | None:
    """Which topic is the article about? Mostly the text shown is another part of it than the opening."""
    article = _draw_article(source, rng, shortest=2)
    if article is None:
        return None
    document, sentences = article
    topic = article_topic(document)
    if topic is None:
        return None
    first = 0 if rng.random() < 0.3 else int(rng.integers(1, len(sentences)))
    text = " ".join(" ".join(sentences[first : first + int(rng.integers(1, 4))]).split()[:_SHOWN_WORDS])
    return ask_topic(source, rng, topic, text)


def article_topic(document: str) -> str | None:
    """Return the topic that the opening sentence of an article names, or None."""
    opening = _OPENING.search(document[:400])
    if opening is None:
        return None
    phrase = opening.group(1).lower()
    return next((name for pattern, name in OPENING_NOUNS if re.search(rf"\b(?:{pattern})", phrase)), None)


def definition(source: PassageSource, rng: np.random.Generator) -> Row | None:
    """What is the thing that the article is about, in its own words?"""
    article = _draw_article(source, rng, shortest=3)
    if article is None:
        return None
    document, sentences = article
    opening = _OPENING.search(document[:400])
    if opening is None:
        return None
    name = " ".join(document[: opening.start()].split()[:4])
    shown = " ".join(" ".join(sentences[1:4]).split()[:_SHOWN_WORDS])
    return f"What is {name}? {shown}", _phrase(opening)


def choose_definition(source: PassageSource, rng: np.random.Generator) -> Row | None:
    """Which of the offered definitions is that of the article which the text is from?"""
    article = _draw_article(source, rng, shortest=3)
    if article is None:
        return None
    document, sentences = article
    opening = _OPENING.search(document[:400])
    others = [_draw_article(source, rng, shortest=1) for _ in range(int(rng.integers(1, 4)))]
    openings = [_OPENING.search(other[0][:400]) for other in others if other is not None]
    phrases = [_phrase(found) for found in openings if found is not None]
    if opening is None or not phrases or _phrase(opening) in phrases:
        return None
    first = int(rng.integers(1, len(sentences)))
    shown = " ".join(" ".join(sentences[first : first + 3]).split()[:_SHOWN_WORDS])
    return pose(rng, "What is it about?", [_phrase(opening), *phrases], shown), _phrase(opening)


def related_word(source: PassageSource, rng: np.random.Generator) -> Row | None:
    """Which of the offered words stands elsewhere in the same article?"""
    article = _draw_article(source, rng, shortest=4)
    if article is None:
        return None
    _, sentences = article
    half = len(sentences) // 2
    shown = " ".join(" ".join(sentences[:half]).split()[-_SHOWN_WORDS:])
    word = draw_word(" ".join(sentences[half:]), rng)
    others = [
        draw_word(source.draw(rng, max_words=30, kind=_ARTICLE).text, rng) for _ in range(int(rng.integers(1, 4)))
    ]
    whole = " ".join(sentences).lower()
    wrong = [other for other in others if other is not None and other.lower() not in whole]
    if word is None or len(word) < 5 or word.lower() in shown.lower() or not wrong:
        return None
    question = pick(rng, ("Which word is related?", "Which word goes with it?", "Related:"))
    return pose(rng, question, [word, *wrong], shown), word


def _draw_article(source: PassageSource, rng: np.random.Generator, *, shortest: int) -> tuple[str, list[str]] | None:
    """Return an article and its first sentences, or None where the corpus has none or it is shorter than asked for."""
    if _ARTICLE not in source.corpus.kinds:
        return None
    _, document = source.draw_document(rng, _ARTICLE)
    sentences = split_sentences(document[:3000])
    return (document, sentences) if len(sentences) >= shortest else None


def _phrase(opening: re.Match[str]) -> str:
    """Return the first words of what an opening sentence says that the thing is."""
    return " ".join(_END_OF_PHRASE.split(opening.group(1))[0].split()[:6])
