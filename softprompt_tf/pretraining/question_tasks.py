"""Instruction tasks that ask what kind of answer a question wants."""

import re

import numpy as np

from softprompt_tf.pretraining.passages import PassageSource, split_sentences
from softprompt_tf.pretraining.posing import BLANK, Row, pick, pose_named
from softprompt_tf.pretraining.question_words import ASKED_FORMS, ASKED_NOUNS, KIND_NAMES, OPENING_WORDS

_QUESTIONS = ("What does the question ask for?", "Kind of answer:", "What is wanted?", "Question type:")
_LETTERS = "ABCDEFGHIJKLMNOPRSTUVW"


def question_kind(source: PassageSource, rng: np.random.Generator) -> Row | None:
    """What does a question ask for? Its opening words tell; two fifths of the time they are blanked out."""
    _, document = source.draw_document(rng, "book" if "book" in source.corpus.kinds else None)
    sentences = split_sentences(document[:2000])
    questions = [s.strip("\"'“‘”’ ") for s in sentences if s.rstrip("\"'”’ ").endswith("?")]
    for question in questions:
        for pattern, kind in OPENING_WORDS:
            opening = re.search(pattern, question, re.IGNORECASE)
            if opening is None or not 4 <= len(question.split()) <= 40:
                continue
            if kind in ("manner", "thing") and rng.random() < 0.6:
                return None
            text = question if rng.random() < 0.6 else f"{BLANK}{question[opening.end() :]}"
            return _ask_kind(source, rng, kind, text)
    return None


def made_question(source: PassageSource, rng: np.random.Generator) -> Row | None:
    """What does a question ask for that is put together from a form, a noun of its kind and a stretch of a passage?"""
    kind = pick(rng, tuple(ASKED_FORMS))
    form = pick(rng, ASKED_FORMS[kind])
    words = [word.strip('.,;:!?"“”()') for word in source.draw(rng, max_words=40).text.split()]
    count = int(rng.integers(1, 4)) if kind == "meaning" else int(rng.integers(1, 10))
    if len(words) < count:
        return None
    first = int(rng.integers(len(words) - count + 1))
    stretch = " ".join(words[first : first + count])
    noun = pick(rng, ASKED_NOUNS[kind]).replace("-", " ") if kind in ASKED_NOUNS else ""
    letters = "".join(rng.choice(list(_LETTERS), size=int(rng.integers(2, 6))))
    question = form.replace("{noun}", noun).replace("{letters}", letters).replace("{}", stretch)
    if rng.random() < 0.5:
        question = re.sub(r"([?.])$", r" \1", question)
    return _ask_kind(source, rng, kind, question)


def _ask_kind(source: PassageSource, rng: np.random.Generator, kind: str, text: str) -> Row:
    return pose_named(source, rng, questions=_QUESTIONS, names=KIND_NAMES, right=kind, text=text)
