"""How many words of a task's class labels are among the neighbours of its prompt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from softprompt_tf.interpretability.clusters import word_of


@dataclass(frozen=True)
class LabelShare:
    """How much of the labels stands among the neighbours.

    Args:
      words: the labels' different words (pieces without the mark of a word's start), in order.
      found: those among the trained prompt's neighbours.
      found_at_start: those among the initial prompt's neighbours; None where that prompt is not known.
    """

    words: tuple[str, ...]
    found: tuple[str, ...]
    found_at_start: tuple[str, ...] | None = None

    @property
    def share(self) -> float:
        """Found words over all, in [0, 1]."""
        return len(self.found) / len(self.words)

    @property
    def persisted(self) -> tuple[str, ...] | None:
        """The words that were there at the start and still are; None where the start is not known."""
        if self.found_at_start is None:
            return None
        return tuple(word for word in self.found_at_start if word in self.found)


def label_share(
    label_pieces: Mapping[str, Sequence[str]],
    neighbours: Sequence[Sequence[str]],
    initial_neighbours: Sequence[Sequence[str]] | None = None,
) -> LabelShare | None:
    """Return which of the labels' words are a neighbour of any vector of the prompt.

    Args:
      label_pieces: label -> its pieces, as the tokenizer cuts it.
      neighbours: of each of the P trained vectors, its nearest pieces.
      initial_neighbours: the same of the prompt before training.

    Returns:
      The share, or None where the labels have no words.

    Source: Lester et al. 2021, section 7, arXiv:2104.08691, where the top neighbours are looked through for the labels.
    """
    words = tuple(
        dict.fromkeys(word_of(piece) for pieces in label_pieces.values() for piece in pieces if word_of(piece))
    )
    if not words:
        return None
    at_start = None if initial_neighbours is None else _found(words, initial_neighbours)
    return LabelShare(words, _found(words, neighbours), at_start)


def _found(words: Sequence[str], neighbours: Sequence[Sequence[str]]) -> tuple[str, ...]:
    near = {word_of(piece) for pieces in neighbours for piece in pieces}
    return tuple(word for word in words if word in near)
