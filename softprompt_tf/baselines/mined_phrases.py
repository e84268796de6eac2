"""Mine phrases that stand in front of a task's answers in a corpus: candidates for a prompt in words.

    corpus: "... all in all it was great. But ..."    answer: great    phrases: "was", "it was", "all it was", ...

A phrase goes between a row's text and the answer. Phrases that stand in front of different answers come first, as one that
stands in front of one answer alone favours it.

Source: Jiang et al. 2020, arXiv:1911.12543, section 3.1 ("middle-word prompts": the words between the two entities of a relation).
A text to classify is in no corpus but its own, so that here only the answer is looked for; the order is this library's.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from softprompt_tf.errors import ConfigError, DataError

_SENTENCE_END = re.compile(r"[.!?…؟۔।。！？][\"')\]“”’»]*$")  # of Latin, Arabic, Urdu, Hindi, Chinese
_EDGES = re.compile(r"^\W+|\W+$")


@dataclass(frozen=True)
class Phrase:
    """A candidate.

    Args:
      text: its words.
      source: where it comes from.
      count: how often it was found; 0 where nothing was counted.
    """

    text: str
    source: str
    count: int = 0


def mine_phrases(
    documents: Iterable[str], answers: Sequence[str], *, max_words: int = 5, count: int = 50
) -> list[Phrase]:
    """Return the phrases of 1 to `max_words` words that stand right in front of answers, within a sentence.

    Args:
      documents: texts.
      answers: the label words, or the targets of rows. Case, and punctuation around a word, do not matter.
      max_words: of a phrase.
      count: how many are returned at most: those in front of the most answers, then the most frequent, then in alphabetical order.

    Raises:
      ConfigError: if a number is no positive integer.
      DataError: if no answer has a word.

    Examples:
      >>> from softprompt_tf.baselines import mine_phrases
      >>> lines = ["All in all it was great.", "I hoped for more, but it was bad."]
      >>> [phrase.text for phrase in mine_phrases(lines, ["great", "bad"], count=2)]
      ['it was', 'was']
    """
    for name, value in (("max_words", max_words), ("count", count)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"`{name}` must be a positive integer. Received: {name}={value!r}.")
    wanted = _by_first_word(answers)
    counts: Counter[str] = Counter()
    before: defaultdict[str, set[tuple[str, ...]]] = defaultdict(set)
    for document in documents:
        words = document.split()
        plain = [_plain(word) for word in words]
        for place, word in enumerate(plain):
            for answer in wanted.get(word, ()):
                if tuple(plain[place : place + len(answer)]) == answer:
                    for phrase in _phrases_before(words, place, max_words):
                        counts[phrase] += 1
                        before[phrase].add(answer)
    ordered = sorted(counts, key=lambda phrase: (-len(before[phrase]), -counts[phrase], phrase))
    return [Phrase(phrase, "mined", counts[phrase]) for phrase in ordered[:count]]


def _by_first_word(answers: Sequence[str]) -> dict[str, list[tuple[str, ...]]]:
    """Return a word -> the answers that begin with it, each as its words."""
    found: defaultdict[str, list[tuple[str, ...]]] = defaultdict(list)
    for words in dict.fromkeys(tuple(map(_plain, answer.split())) for answer in answers):
        if any(words):
            found[words[0]].append(words)
    if not found:
        raise DataError(f"Phrases are mined in front of answers with a word. Received: {list(answers)[:5]}.")
    return found


def _phrases_before(words: Sequence[str], place: int, max_words: int) -> list[str]:
    """Return the phrases that end in front of a place, the shortest first; none reaches beyond the end of a sentence."""
    phrases = []
    for length in range(1, max_words + 1):
        first = place - length
        if first < 0 or _SENTENCE_END.search(words[first]):
            break
        phrases.append(" ".join(words[first:place]))
    return phrases


def _plain(word: str) -> str:
    return _EDGES.sub("", word).lower()
