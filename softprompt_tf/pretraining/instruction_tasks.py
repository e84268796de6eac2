"""Raw passages in, (inputs, target) texts out: small tasks with an instruction in front, made from unlabelled text.

A model that has only continued text is hard to steer with a prompt of a few vectors. These tasks teach it, without any
labels, that what stands in front of a text says what to answer and in which words: the answer words stand in the
instruction, in an order and often in a choice that is drawn anew for every row. A task that does not suit the passage
that it drew returns None. The idea is that of multi-task training
with instructions (Sanh et al. 2022, T0, arXiv:2110.08207), with targets that come from the text itself.
"""

import re
from collections.abc import Callable, Sequence

import numpy as np

from softprompt_tf.pretraining.passages import PassageSource, split_sentences
from softprompt_tf.pretraining.word_lists import (
    ANSWER_PAIRS,
    BLAME,
    BLANKED_KINDS,
    NEGATIONS,
    POLARITY_PAIRS,
    PRAISE,
    QUESTION_WORDS,
    SUBJECTS,
)

Row = tuple[str, str]
InstructionTask = Callable[[PassageSource, np.random.Generator], Row | None]
BLANK = "___"
_WORD = re.compile(r"[A-Za-z][a-z]{3,}")
_OPENING = re.compile(r"\b(?:is|was|are|were) (?:an?|the|one of the) ([^.;]{3,120})")


def draw_row(source: PassageSource, rng: np.random.Generator, *, attempts: int = 200) -> tuple[str, str, str]:
    """Draw a task by its weight, then passages until one suits it.

    Args:
      source: where the passages come from.
      rng: the source of everything that is drawn.
      attempts: after as many passages that do not suit, the row is one of `first_words`, which suits every passage.

    Returns:
      The name of the task that made the row, the inputs and the target.
    """
    names = list(INSTRUCTION_TASKS)
    weights = np.array([INSTRUCTION_TASKS[name][1] for name in names])
    name = names[int(rng.choice(len(names), p=weights / weights.sum()))]
    for _ in range(attempts):
        row = INSTRUCTION_TASKS[name][0](source, rng)
        if row is not None:
            return name, *row
    return "first_words", *first_words(source, rng)


def missing_word(source: PassageSource, rng: np.random.Generator) -> Row | None:
    """Which word stood in the blank?"""
    passage = source.draw(rng, max_words=32)
    word = _draw_word(passage.text, rng)
    if word is None:
        return None
    question = _pick(rng, ("Fill in the missing word:", "Which word is missing?", "Complete the text:"))
    return f"{question} {_blank_out(passage.text, word)}", word


def choose_word(source: PassageSource, rng: np.random.Generator) -> Row | None:
    """Which of the offered words stood in the blank?"""
    passage = source.draw(rng, max_words=30)
    word = _draw_word(passage.text, rng)
    others = [_draw_word(source.draw(rng, max_words=30).text, rng) for _ in range(int(rng.integers(1, 4)))]
    if word is None or any(other is None or other.lower() == word.lower() for other in others):
        return None
    return _pose(rng, "Which word fits?", [word, *map(str, others)], _blank_out(passage.text, word)), word


def contains_word(source: PassageSource, rng: np.random.Generator) -> Row | None:
    """Does the text hold this word? The answer words are drawn anew, often from other texts."""
    passage = source.draw(rng, max_words=30)
    present = bool(rng.random() < 0.5)
    word = _draw_word(passage.text if present else source.draw(rng, max_words=30).text, rng)
    if word is None or (not present and word.lower() in passage.text.lower()):
        return None
    pair = _answer_pair(source, rng, ANSWER_PAIRS)
    if pair is None:
        return None
    return f"{pair[0]} if the text has {word}, else {pair[1]}: {passage.text}", pair[0] if present else pair[1]


def goes_together(source: PassageSource, rng: np.random.Generator) -> Row | None:
    """Do two stretches of text come from one place, or from two?"""
    passage = source.draw(rng, max_words=44)
    if len(passage.sentences) < 2:
        return None
    cut = len(passage.sentences) // 2
    first, second = " ".join(passage.sentences[:cut]), " ".join(passage.sentences[cut:])
    together = bool(rng.random() < 0.5)
    if not together:
        second = source.draw(rng, max_words=len(second.split()) + 5, kind=passage.kind).text
    pair = ANSWER_PAIRS[int(rng.integers(len(ANSWER_PAIRS)))]
    text = f"first: {first} second: {second}"
    return _pose(rng, "Do the two belong together?", list(pair), text), pair[0] if together else pair[1]


def kind_of_text(source: PassageSource, rng: np.random.Generator) -> Row | None:
    """Is it a book, an article or a speech?"""
    passage = source.draw(rng, max_words=24)
    return _pose(rng, "What kind of text is this?", list(source.corpus.kinds), passage.text), passage.kind


def subject(source: PassageSource, rng: np.random.Generator) -> Row | None:
    """What is the article about? The opening sentence tells; mostly the text shown is another part of the article."""
    if "article" not in source.corpus.kinds:
        return None
    _, document = source.draw_document(rng, "article")
    found = article_subject(document)
    sentences = split_sentences(document[:3000])
    if found is None or len(sentences) < 2:
        return None
    first = 0 if rng.random() < 0.3 else int(rng.integers(1, len(sentences)))
    text = " ".join(" ".join(sentences[first : first + int(rng.integers(1, 4))]).split()[:34])
    others = [name for _, name in SUBJECTS if name != found]
    options = [found, *rng.permutation(others)[: int(rng.integers(1, 7))].tolist()]
    return _pose(rng, _pick(rng, ("What is it about?", "Which topic?", "Subject:")), options, text), found


def article_subject(document: str) -> str | None:
    """Return the subject that the opening sentence of an article names, or None."""
    opening = _OPENING.search(document[:400])
    if opening is None:
        return None
    phrase = opening.group(1).lower()
    return next((name for pattern, name in SUBJECTS if re.search(rf"\b(?:{pattern})", phrase)), None)


def definition(source: PassageSource, rng: np.random.Generator) -> Row | None:
    """What is the thing that the article is about, in its own words?"""
    if "article" not in source.corpus.kinds:
        return None
    _, document = source.draw_document(rng, "article")
    sentences = split_sentences(document[:2000])
    opening = _OPENING.search(document[:400])
    if opening is None or len(sentences) < 3:
        return None
    phrase = " ".join(re.split(r",| who | which | that | from | based ", opening.group(1))[0].split()[:6])
    name = " ".join(document[: opening.start()].split()[:4])
    return f"What is {name}? {' '.join(' '.join(sentences[1:4]).split()[:34])}", phrase


def question_kind(source: PassageSource, rng: np.random.Generator) -> Row | None:
    """What does a question ask for? Its opening words tell; half the time they are blanked out."""
    _, document = source.draw_document(rng, "book" if "book" in source.corpus.kinds else None)
    sentences = split_sentences(document[:2000])
    questions = [s.strip("\"'“”‘’ ") for s in sentences if s.rstrip("\"'”’ ").endswith("?")]
    for question in questions:
        for pattern, kind in QUESTION_WORDS:
            opening = re.search(pattern, question, re.IGNORECASE)
            if opening is None or not 4 <= len(question.split()) <= 40:
                continue
            if kind in ("manner", "thing") and rng.random() < 0.6:
                return None
            text = question if rng.random() < 0.6 else f"{BLANK}{question[opening.end() :]}"
            others = sorted({name for _, name in QUESTION_WORDS} - {kind})
            options = [kind, *rng.permutation(others)[: int(rng.integers(1, 6))].tolist()]
            return _pose(rng, "What does the question ask for?", options, text), kind
    return None


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
    pair = _answer_pair(source, rng, POLARITY_PAIRS, drawn=0.0)
    if pair is None:
        return None
    question = _pick(rng, ("What is the feeling?", "Sentiment:", "How does it sound?", "Opinion:"))
    return _pose(rng, question, list(pair), text), pair[0] if is_praise else pair[1]


def polarity(words: Sequence[str]) -> tuple[bool, set[int]] | None:
    """Return whether the words praise, and where the telling words stand; None if no side or both sides are there."""
    sides: set[bool] = set()
    positions: set[int] = set()
    for k, word in enumerate(words):
        plain = word.lower().strip(".,;:!?\"'“”‘’()")
        if plain not in PRAISE and plain not in BLAME:
            continue
        negated = any(before.lower().strip(".,;") in NEGATIONS for before in words[max(0, k - 3) : k])
        sides.add((plain in PRAISE) != negated)
        positions.add(k)
    return (sides.pop(), positions) if len(sides) == 1 else None


def kind_of_blank(source: PassageSource, rng: np.random.Generator) -> Row | None:
    """What kind of thing stood in the blank: a year, a number, a person, a place, a reason, a time?"""
    passage = source.draw(rng, max_words=30)
    kind = str(rng.choice(list(BLANKED_KINDS)))
    found = re.search(BLANKED_KINDS[kind], passage.text)
    if found is None:
        return None
    text = f"{passage.text[: found.start()]}{BLANK}{passage.text[found.end() :]}"
    others = [name for name in BLANKED_KINDS if name != kind]
    options = [kind, *rng.permutation(others)[: int(rng.integers(1, 6))].tolist()]
    return _pose(rng, "What kind of thing is missing?", options, text), kind


def first_words(source: PassageSource, rng: np.random.Generator) -> Row:
    """Repeat the first or the last words of the text."""
    words = source.draw(rng, max_words=24).text.split()
    count = int(rng.integers(1, 5))
    if rng.random() < 0.5:
        return f"The first {count} words: {' '.join(words)}", " ".join(words[:count])
    return f"The last {count} words: {' '.join(words)}", " ".join(words[-count:])


# name -> (task, weight in the mixture)
INSTRUCTION_TASKS: dict[str, tuple[InstructionTask, float]] = {
    "missing_word": (missing_word, 1.0),
    "choose_word": (choose_word, 1.5),
    "contains_word": (contains_word, 1.0),
    "goes_together": (goes_together, 1.0),
    "kind_of_text": (kind_of_text, 0.5),
    "subject": (subject, 3.5),
    "definition": (definition, 0.7),
    "question_kind": (question_kind, 1.5),
    "feeling": (feeling, 4.0),
    "kind_of_blank": (kind_of_blank, 1.0),
    "first_words": (first_words, 0.5),
}


def _pose(rng: np.random.Generator, question: str, options: list[str], text: str) -> str:
    """Put the instruction in front in one of four forms; the order of the options is drawn anew."""
    offered = ", ".join(rng.permutation(options).tolist())
    form = rng.random()
    if form < 0.35:
        return f"{question} {offered}: {text}"
    if form < 0.7:
        return f"{offered}: {text}"
    if form < 0.85:
        return f"{offered.replace(',', '')} {text}"
    return f"{question} {text} {offered}?"


def _answer_pair(
    source: PassageSource, rng: np.random.Generator, pairs: Sequence[tuple[str, str]], *, drawn: float = 0.5
) -> tuple[str, str] | None:
    """Take one of the usual pairs, or with probability `drawn` two words of other texts."""
    if rng.random() >= drawn:
        return pairs[int(rng.integers(len(pairs)))]
    first, second = (_draw_word(source.draw(rng, max_words=30).text, rng) for _ in range(2))
    if first is None or second is None or first == second:
        return None
    return first.lower(), second.lower()


def _draw_word(text: str, rng: np.random.Generator) -> str | None:
    """Draw a word of four letters or more, or None where there is none; a capital inside a word starts a new one."""
    words = _WORD.findall(text)
    return words[int(rng.integers(len(words)))] if words else None


def _blank_out(text: str, word: str) -> str:
    """Put the blank in every place where the word stands by itself."""
    return re.sub(rf"\b{re.escape(word)}\b", BLANK, text)


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]
