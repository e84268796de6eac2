"""Recycle a prompt: compute its rows for another backbone from the two embedding tables alone, without task data.

Source: Lester et al. 2022, "Reducing Retraining by Recycling Parameter-Efficient Prompts", arXiv:2208.05577, and its code in
google-research/prompt-tuning, `prompt_tuning/recycling/recycle.py`.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from softprompt_tf.errors import PromptError
from softprompt_tf.methods.embedding_network import fitted_network
from softprompt_tf.methods.vocabulary import NUM_SPECIAL_IDS
from softprompt_tf.settings.spelling import nearest

WAYS = ("v2v-lin", "v2v-nn", "lin-comb")
SKIPPED, USED = 1000, 4000  # the most frequent pieces are left out, and so many are taken after them


@dataclasses.dataclass(frozen=True)
class EmbeddedPieces:
    """A backbone's vocabulary as recycling sees it.

    Args:
      name: what messages call the backbone.
      pieces: the pieces' texts, in the order of their ids.
      embeddings: [V, H] the input embedding table; rows behind the pieces are not used.
    """

    name: str
    pieces: Sequence[str]
    embeddings: np.ndarray

    def __post_init__(self) -> None:
        shape = np.shape(self.embeddings)
        if len(shape) != 2 or shape[0] < len(self.pieces):
            raise PromptError(
                "An embedding table [V, H] must have a row for each piece. "
                f"Received: table {list(shape)}, {len(self.pieces)} pieces of {self.name}."
            )


def recycled_rows(
    prompt: np.ndarray, source: EmbeddedPieces, target: EmbeddedPieces, *, way: str = "v2v-lin", seed: int = 0
) -> np.ndarray:
    """Return the rows of a prompt for another backbone.

    Args:
      prompt: [P, H], trained on the source.
      source, target: the vocabularies of the two backbones; they need not be the same, but must share at least H pieces.
      way: "v2v-lin": the linear map that takes the source's embeddings nearest to the target's (least squares).
        "v2v-nn": a network of one hidden ReLU layer, four times as wide as the target, trained on the pairs with Adam.
        "lin-comb": each row as a linear combination of the source's embeddings, of the smallest weights; the same
        combination of the target's embeddings. Where the source's embeddings have full rank, which is the rule, algebra makes
        these the rows of "v2v-lin", up to rounding.
      seed: of the network.

    Returns:
      float32 [P, H'], H' being the target's width.

    Raises:
      PromptError: if the way is unknown, the prompt is not as wide as the source, or they share too few pieces.

    Source: Lester et al. 2022, arXiv:2208.05577. The paper takes pieces of an English word list, 4,000 after the first 1,000;
    here they are the shared pieces of the same ranks, and all of them where there are fewer.
    """
    return Recycler(source, target, way=way, seed=seed).rows(prompt)


class Recycler:
    """Recycles prompts of one backbone for another one; what does not depend on a prompt is computed once for all.

    Args:
      source, target, way, seed: as for `recycled_rows`.

    Raises:
      PromptError: if the way is unknown.
    """

    def __init__(self, source: EmbeddedPieces, target: EmbeddedPieces, *, way: str = "v2v-lin", seed: int = 0):
        if way not in WAYS:
            raise PromptError(
                f"`way` must be one of {', '.join(WAYS)}. Received: way={way!r}.{nearest(str(way), WAYS)}"
            )
        self._source, self._target, self._way, self._seed = source, target, way, seed

    def rows(self, prompt: np.ndarray) -> np.ndarray:
        """Return the rows float32 [P, H'] of a prompt [P, H] for the target.

        Raises:
          PromptError: if the prompt is not as wide as the source, or the backbones share too few pieces.
        """
        rows, source = np.asarray(prompt, np.float64), self._source
        if rows.ndim != 2 or rows.shape[1] != source.embeddings.shape[1]:
            raise PromptError(
                "A prompt to recycle must be as wide as its own backbone. "
                f"Received: prompt {list(rows.shape)}, {source.name} with H={source.embeddings.shape[1]}."
            )
        if self._way == "lin-comb":
            old, new = self._shared
            weights = np.linalg.lstsq(old.T, rows.T, rcond=None)[0]  # [C, P]
            return (weights.T @ new).astype(np.float32)
        return self._map(rows).astype(np.float32)

    @cached_property
    def _shared(self) -> tuple[np.ndarray, np.ndarray]:
        return shared_embeddings(self._source, self._target)

    @cached_property
    def _map(self) -> Callable[[np.ndarray], np.ndarray]:
        if self._way == "v2v-nn":
            return fitted_network(*self._shared, seed=self._seed)
        kernel = np.linalg.lstsq(*self._shared, rcond=None)[0]  # [H, H']
        return lambda rows: rows @ kernel


def shared_embeddings(source: EmbeddedPieces, target: EmbeddedPieces) -> tuple[np.ndarray, np.ndarray]:
    """Return the embeddings [C, H] and [C, H'], float64, of the pieces that recycling uses.

    Special pieces and sentinels are left out.

    Raises:
      PromptError: if there are fewer than H.
    """
    places = {piece: place for place, piece in enumerate(target.pieces)}
    pairs = [(place, places[piece]) for place, piece in enumerate(source.pieces) if _is_text(place, piece, places)]
    if len(pairs) < source.embeddings.shape[1]:
        raise PromptError(
            "Recycling needs pieces that both vocabularies have, at least as many as the source is wide. "
            f"Received: {len(pairs)} shared pieces of {source.name} ({len(source.pieces)} pieces, "
            f"H={source.embeddings.shape[1]}) and {target.name} ({len(target.pieces)} pieces). "
            "Train the prompt again, or distil it with `softprompt migrate`."
        )
    if len(pairs) >= SKIPPED + max(USED, source.embeddings.shape[1]):
        pairs = pairs[SKIPPED : SKIPPED + max(USED, source.embeddings.shape[1])]
    old, new = np.array(pairs).T
    return np.asarray(source.embeddings[old], np.float64), np.asarray(target.embeddings[new], np.float64)


def _is_text(place: int, piece: str, places: dict[str, int]) -> bool:
    is_special = place < NUM_SPECIAL_IDS or (piece.startswith("<") and piece.endswith(">"))
    return not is_special and piece in places
