"""Make small tasks with an instruction from unlabelled text.

A model that has only continued text is hard to steer with a prompt of a few vectors. These tasks teach it, without any
labels, that what stands in front of a text says what to answer and in which words: the answer words stand in the
instruction, in an order and often in a choice that is drawn anew for every row. A task that does not suit the passage
that it drew returns None. The idea is that of multi-task training
with instructions (Sanh et al. 2022, T0, arXiv:2110.08207), with targets that come from the text itself.
"""

import re
from collections.abc import Mapping

import numpy as np

from softprompt_tf.errors import ConfigError
from softprompt_tf.pretraining.article_tasks import choose_definition, definition, related_word, subject
from softprompt_tf.pretraining.passages import PassageSource
from softprompt_tf.pretraining.posing import (
    BLANK,
    InstructionTask,
    Row,
    answer_pair,
    blank_out,
    draw_word,
    pick,
    pose,
    some_of,
)
from softprompt_tf.pretraining.question_tasks import made_question, question_kind
from softprompt_tf.pretraining.sentiment_tasks import feeling, remark
from softprompt_tf.pretraining.topic_tasks import topic_of_passage, topic_words

_NO_MONTH = r"(?!(?:January|February|March|April|June|July|August|September|October|November|December)\b)"

# What may be blanked out of a passage, and how it is found.
BLANKED_KINDS: dict[str, str] = {
    "year": r"\b1[5-9]\d\d\b|\b20[01]\d\b",
    "number": r"\b(?:\d{1,3}|two|three|four|five|six|seven|eight|nine|ten|twenty|hundred|thousand)\b",
    "person": r"(?<=Mr\. )[A-Z]\w+|(?<=Mrs\. )[A-Z]\w+|(?<=Sir )[A-Z]\w+|(?<=Captain )[A-Z]\w+|(?<=Lady )[A-Z]\w+",
    "place": (
        rf"(?<=\bin ){_NO_MONTH}[A-Z][a-z]{{3,}}\b(?! \d)|(?<=\bat )[A-Z][a-z]{{3,}}\b"
        rf"|(?<=\bfrom ){_NO_MONTH}[A-Z][a-z]{{3,}}\b"
    ),
    "reason": r"\bbecause [^.;,]{8,60}",
    "time": (
        r"\b(?:yesterday|tomorrow|to-morrow|last night|this morning|in the evening|at noon"
        r"|January|March|June|July|October)\b"
    ),
}

# Pairs of answers for yes-or-no tasks.
ANSWER_PAIRS = (
    ("yes", "no"), ("true", "false"), ("right", "wrong"), ("correct", "incorrect"), ("agree", "disagree"),
    ("same", "different"), ("equal", "not equal"), ("entailment", "not_entailment"),
)  # fmt: skip


def task_weights(changes: Mapping[str, float]) -> dict[str, float]:
    """Return the weight of every instruction task.

    Args:
      changes: weights that take the place of tasks' own; 0 leaves a task out.

    Raises:
      ConfigError: if a name is none of a task, a weight is below 0 or not finite, or every task is left out.
    """
    for name, weight in changes.items():
        if name not in INSTRUCTION_TASKS:
            raise ConfigError(f"An instruction task must be one of {', '.join(INSTRUCTION_TASKS)}. Received: {name!r}.")
        if not 0 <= weight < float("inf"):
            raise ConfigError(f"A task's weight must be a number of at least 0. Received: {name}={weight}.")
    weights = {name: changes.get(name, own) for name, (_, own) in INSTRUCTION_TASKS.items()}
    if not sum(weights.values()):
        raise ConfigError("At least one instruction task must have a weight above 0. Received: 0 for every one.")
    return weights


def draw_row(
    source: PassageSource, rng: np.random.Generator, *, weights: Mapping[str, float] | None = None, attempts: int = 200
) -> tuple[str, str, str]:
    """Draw a task by its weight, then passages until one suits it.

    Args:
      source: where the passages come from.
      rng: the source of everything that is drawn.
      weights: of every task, as `task_weights` gives them. Default: the tasks' own.
      attempts: after as many passages that do not suit, the row is one of `first_words`, which suits every passage.

    Returns:
      The name of the task that made the row, the inputs and the target.
    """
    weights = weights or task_weights({})
    shares = np.array(list(weights.values()))
    name = list(weights)[int(rng.choice(len(shares), p=shares / shares.sum()))]
    for _ in range(attempts):
        row = INSTRUCTION_TASKS[name][0](source, rng)
        if row is not None:
            return name, *row
    return "first_words", *first_words(source, rng)


def missing_word(source: PassageSource, rng: np.random.Generator) -> Row | None:
    """Which word stood in the blank?"""
    passage = source.draw(rng, max_words=32)
    word = draw_word(passage.text, rng)
    if word is None:
        return None
    question = pick(rng, ("Fill in the missing word:", "Which word is missing?", "Complete the text:"))
    return f"{question} {blank_out(passage.text, word)}", word


def choose_word(source: PassageSource, rng: np.random.Generator) -> Row | None:
    """Which of the offered words stood in the blank?"""
    passage = source.draw(rng, max_words=30)
    word = draw_word(passage.text, rng)
    others = [draw_word(source.draw(rng, max_words=30).text, rng) for _ in range(int(rng.integers(1, 4)))]
    if word is None or any(other is None or other.lower() == word.lower() for other in others):
        return None
    return pose(rng, "Which word fits?", [word, *map(str, others)], blank_out(passage.text, word)), word


def contains_word(source: PassageSource, rng: np.random.Generator) -> Row | None:
    """Does the text hold this word? The answer words are drawn anew, often from other texts."""
    passage = source.draw(rng, max_words=30)
    present = bool(rng.random() < 0.5)
    word = draw_word(passage.text if present else source.draw(rng, max_words=30).text, rng)
    if word is None or (not present and word.lower() in passage.text.lower()):
        return None
    pair = answer_pair(source, rng, ANSWER_PAIRS, drawn=0.5)
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
    return pose(rng, "Do the two belong together?", list(pair), text), pair[0] if together else pair[1]


def kind_of_text(source: PassageSource, rng: np.random.Generator) -> Row | None:
    """Is it a book, an article or a speech?"""
    passage = source.draw(rng, max_words=24)
    return pose(rng, "What kind of text is this?", list(source.corpus.kinds), passage.text), passage.kind


def kind_of_blank(source: PassageSource, rng: np.random.Generator) -> Row | None:
    """What kind of thing stood in the blank: a year, a number, a person, a place, a reason, a time?"""
    passage = source.draw(rng, max_words=30)
    kind = str(rng.choice(list(BLANKED_KINDS)))
    found = re.search(BLANKED_KINDS[kind], passage.text)
    if found is None:
        return None
    text = f"{passage.text[: found.start()]}{BLANK}{passage.text[found.end() :]}"
    others = [name for name in BLANKED_KINDS if name != kind]
    return pose(rng, "What kind of thing is missing?", some_of(rng, kind, others, most=5), text), kind


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
    "choose_word": (choose_word, 1.0),
    "contains_word": (contains_word, 0.7),
    "goes_together": (goes_together, 0.7),
    "kind_of_text": (kind_of_text, 0.3),
    "kind_of_blank": (kind_of_blank, 0.7),
    "first_words": (first_words, 0.4),
    "subject": (subject, 2.0),
    "definition": (definition, 0.5),
    "choose_definition": (choose_definition, 1.0),
    "related_word": (related_word, 1.5),
    "topic_of_passage": (topic_of_passage, 1.5),
    "topic_words": (topic_words, 1.5),
    "question_kind": (question_kind, 1.0),
    "made_question": (made_question, 2.5),
    "feeling": (feeling, 2.5),
    "remark": (remark, 2.5),
}
