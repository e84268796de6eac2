"""Put an instruction, its possible answers and a text together, and the small draws that tasks share."""

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from softprompt_tf.pretraining.passages import PassageSource

Row = tuple[str, str]
InstructionTask = Callable[[PassageSource, np.random.Generator], Row | None]
BLANK = "___"
_WORD = re.compile(r"[A-Za-z][a-z]{3,}")


def pose(
    rng: np.random.Generator, question: str, options: Sequence[str], text: str, *, noise: Sequence[str] = ()
) -> str:
    """Put the instruction in front of or around the text, in one of five forms; the order of the options is drawn anew.

    Args:
      rng: the source of the form and of the order.
      question: what is asked.
      options: the answers to choose from, the right one among them.
      text: what the question is about.
      noise: words without a meaning here. The form that has them stands for a soft prompt whose first rows are the
        answers and whose other rows are words drawn at random; without them neither that form nor the one that puts the
        options last is used.
    """
    offered = rng.permutation(list(options)).tolist()
    form = rng.random()
    if form < 0.3:
        return f"{question} {', '.join(offered)}: {text}"
    if form < 0.55:
        return f"{', '.join(offered)}: {text}"
    if form < 0.7 or not noise:
        return f"{' '.join(offered)} {text}"
    if form < 0.85:
        return f"{question} {text} {', '.join(offered)}?"
    return f"{' '.join([*offered, *noise])} {text}"


def pose_named(
    source: PassageSource,
    rng: np.random.Generator,
    *,
    questions: Sequence[str],
    names: Mapping[str, Sequence[str]],
    right: str,
    text: str,
) -> Row:
    """Ask for one of several kinds, each of which has names of its own.

    Args:
      source: where the words without a meaning come from.
      rng: the source of everything that is drawn.
      questions: forms of the question.
      names: for every kind what it may be called, the plainest name first; that one is taken half the time.
      right: the right kind. From 1 to 6 kinds that share no name with it are offered beside it.
      text: what the question is about.
    """

    def name_of(kind: str) -> str:
        return names[kind][0] if rng.random() < 0.5 else pick(rng, names[kind])

    answer = name_of(right)
    others = [kind for kind in names if not set(names[kind]) & set(names[right])]
    offered = [name_of(kind) for kind in rng.permutation(others)[: int(rng.integers(1, 7))].tolist()]
    noise = draw_words(source, rng, count=int(rng.integers(2, 14)))
    return pose(rng, pick(rng, questions), list(dict.fromkeys([answer, *offered])), text, noise=noise), answer


def pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    """Return one of the options, each as likely."""
    return options[int(rng.integers(len(options)))]


def some_of(rng: np.random.Generator, right: str, others: Sequence[str], *, most: int) -> list[str]:
    """Return the right answer and from 1 to `most` of the others."""
    return [right, *rng.permutation(list(others))[: int(rng.integers(1, most + 1))].tolist()]


def draw_word(text: str, rng: np.random.Generator) -> str | None:
    """Draw a word of four letters or more, or None where there is none; a capital inside a word starts a new one."""
    words = _WORD.findall(text)
    return words[int(rng.integers(len(words)))] if words else None


def draw_words(source: PassageSource, rng: np.random.Generator, *, count: int) -> list[str]:
    """Return up to `count` words of one passage, in an order of their own."""
    words = _WORD.findall(source.draw(rng, max_words=40).text)
    return rng.permutation(words)[:count].tolist() if words else []


def blank_out(text: str, word: str) -> str:
    """Put the blank in every place where the word stands by itself."""
    return re.sub(rf"\b{re.escape(word)}\b", BLANK, text)


def answer_pair(
    source: PassageSource, rng: np.random.Generator, pairs: Sequence[tuple[str, str]], *, drawn: float
) -> tuple[str, str] | None:
    """Take one of the usual pairs, or with probability `drawn` two words of other texts."""
    if rng.random() >= drawn:
        return pairs[int(rng.integers(len(pairs)))]
    first, second = (draw_word(source.draw(rng, max_words=30).text, rng) for _ in range(2))
    if first is None or second is None or first.lower() == second.lower():
        return None
    return first.lower(), second.lower()
