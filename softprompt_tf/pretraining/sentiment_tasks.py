"""Instruction tasks that ask whether a passage praises or blames."""

from collections.abc import Sequence

import numpy as np

from softprompt_tf.pretraining import sentiment_words as words_of
from softprompt_tf.pretraining.passages import PassageSource
from softprompt_tf.pretraining.posing import BLANK, Row, answer_pair, draw_words, pick, pose

_QUESTIONS = ("What is the feeling?", "Sentiment:", "How does it sound?", "Opinion:")
_MARKS = ".,;:!?\"'“”‘’()"


def feeling(source: PassageSource, rng: np.random.Generator) -> Row | None:
    """Does the passage praise or blame? Words of one side only tell; a fifth of the time they are blanked out."""
    passage = source.draw(rng, max_words=int(rng.choice([12, 20, 32])))
    words = passage.text.split()
    found = polarity(words)
    if found is None:
        return None
    is_praise, positions = found
    text = passage.text
    if rng.random() < 0.2:
        text = " ".join(BLANK if k in positions else word for k, word in enumerate(words))
    return _ask(source, rng, text, is_praise=is_praise)


def remark(source: PassageSource, rng: np.random.Generator) -> Row | None:
    """Does a remark praise or blame? It is put together from words of one side, some negated, amid words of a passage."""
    is_praise = bool(rng.random() < 0.5)
    parts = [_clause(source, rng, is_praise=is_praise) for _ in range(int(rng.integers(1, 4)))]
    joint = pick(rng, (", ", " and ", " , ", ". ", " ... "))
    text = joint.join(parts)
    if rng.random() < 0.4:
        plain = _without_polarity(source.draw(rng, max_words=14).text)
        text = f"{plain} {text}" if rng.random() < 0.5 else f"{text} {plain}"
    return _ask(source, rng, text.lower() if rng.random() < 0.5 else text, is_praise=is_praise)


def polarity(words: Sequence[str]) -> tuple[bool, set[int]] | None:
    """Return whether the words praise, and where the telling words stand; None if no side or both sides are there."""
    sides: set[bool] = set()
    positions: set[int] = set()
    for k, word in enumerate(words):
        plain = _plain(word)
        if plain not in words_of.PRAISE and plain not in words_of.BLAME:
            continue
        negated = any(_plain(before) in words_of.NEGATIONS for before in words[max(0, k - 3) : k])
        sides.add((plain in words_of.PRAISE) != negated)
        positions.add(k)
    return (sides.pop(), positions) if len(sides) == 1 else None


def _clause(source: PassageSource, rng: np.random.Generator, *, is_praise: bool) -> str:
    """Put together a clause that praises or blames something of a passage; a sixth of the time by a negated word."""
    negated = bool(rng.random() < 1 / 6)
    praising = is_praise != negated
    adjective = pick(rng, words_of.PRAISE_ADJECTIVES if praising else words_of.BLAME_ADJECTIVES)
    noun = pick(rng, words_of.PRAISE_NOUNS if praising else words_of.BLAME_NOUNS)
    verb = pick(rng, words_of.PRAISE_VERBS if praising else words_of.BLAME_VERBS)
    telling = words_of.PRAISE | words_of.BLAME | words_of.NEGATIONS
    things = [word for word in draw_words(source, rng, count=8) if _plain(word) not in telling]
    thing = things[0].lower() if things else pick(rng, ("book", "play", "story"))
    forms: tuple[str, ...]
    if negated:
        forms = (
            f"the {thing} is not {adjective}", f"never {adjective}", f"no {noun} in the {thing}", f"not a {adjective} {thing}",
            f"without {noun}", f"it isn't {adjective}",
        )  # fmt: skip
    else:
        more = pick(rng, ("", "", "", "very ", "so ", "quite ", "truly ", "rather ", "really ", "often ", "just "))
        forms = (
            f"a {more}{adjective} {thing}", f"the {thing} is {more}{adjective}", f"{more}{adjective}", f"{adjective} {thing}",
            f"full of {noun}", f"the {noun} of the {thing}", f"{noun} and {thing}", f"it {verb}", f"the {thing} {verb}",
            f"{more}{adjective} but never {_opposite(rng, praising=praising)}",
        )  # fmt: skip
    return pick(rng, forms)


def _opposite(rng: np.random.Generator, *, praising: bool) -> str:
    return pick(rng, words_of.BLAME_ADJECTIVES if praising else words_of.PRAISE_ADJECTIVES)


def _without_polarity(text: str) -> str:
    both = words_of.PRAISE | words_of.BLAME
    return " ".join(word for word in text.split() if _plain(word) not in both)


def _ask(source: PassageSource, rng: np.random.Generator, text: str, *, is_praise: bool) -> Row | None:
    pair = answer_pair(source, rng, words_of.POLARITY_PAIRS, drawn=0.0)
    if pair is None:
        return None
    noise = draw_words(source, rng, count=int(rng.integers(2, 14)))
    return pose(rng, pick(rng, _QUESTIONS), pair, text, noise=noise), pair[0] if is_praise else pair[1]


def _plain(word: str) -> str:
    return word.lower().replace("’", "'").strip(_MARKS)
