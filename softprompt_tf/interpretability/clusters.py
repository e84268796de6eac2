"""Group the vectors of a prompt by their similarity or by their neighbours' words."""

from collections.abc import Sequence

import numpy as np

from softprompt_tf.errors import PromptError

WORD_START = "\u2581"  # SentencePiece's mark of a space


def word_of(piece: str) -> str:
    """Return a piece without the mark of a word's start and without case, so that "▁Good" and "good" are one word."""
    return piece.replace(WORD_START, "").casefold()


def shared_words(pieces: Sequence[Sequence[str]], *, min_rows: int = 2) -> dict[str, tuple[int, ...]]:
    """Return the words that stand among the neighbours of several vectors.

    Args:
      pieces: of each of the P vectors, its neighbours' pieces.
      min_rows: how many vectors must share a word, 1 or more.

    Returns:
      Word -> the rows that have it, most rows first, then by the alphabet. A piece that is only a space is no word.
    """
    rows: dict[str, list[int]] = {}
    for row, row_pieces in enumerate(pieces):
        for word in sorted({word_of(piece) for piece in row_pieces} - {""}):
            rows.setdefault(word, []).append(row)
    kept = [(word, tuple(found)) for word, found in rows.items() if len(found) >= min_rows]
    return dict(sorted(kept, key=lambda pair: (-len(pair[1]), pair[0])))


def cluster_rows(prompt: np.ndarray, *, min_cosine: float = 0.5) -> list[tuple[int, ...]]:
    """Group a prompt's vectors by average linkage: two groups join while the mean cosine across them is high enough.

    Args:
      prompt: [P, H].
      min_cosine: in (-1, 1); groups whose vectors' mean cosine is below it stay apart.

    Returns:
      The groups' rows, largest group first, then by the first row; every row is in one group.

    Raises:
      PromptError: if `prompt` is not [P, H] or `min_cosine` is out of range.
    """
    if np.ndim(prompt) != 2:
        raise PromptError(f"`prompt` must be [P, H]. Received: shape {list(np.shape(prompt))}.")
    if not -1 < min_cosine < 1:
        raise PromptError(f"`min_cosine` must be above -1 and below 1. Received: min_cosine={min_cosine}.")
    if len(prompt) < 2:
        return [(row,) for row in range(len(prompt))]
    from sklearn.cluster import AgglomerativeClustering  # here: it takes seconds, and other measures do without

    # Precomputed, as scikit-learn's own cosine metric refuses a row of zeros.
    distance = np.clip(1.0 - cosines(prompt, prompt), 0.0, 2.0)  # [P, P]
    np.fill_diagonal(distance, 0.0)
    model = AgglomerativeClustering(
        n_clusters=None, metric="precomputed", linkage="average", distance_threshold=1.0 - min_cosine
    )
    labels = model.fit_predict(distance)
    groups = [tuple(int(row) for row in np.flatnonzero(labels == label)) for label in np.unique(labels)]
    return sorted(groups, key=lambda group: (-len(group), group[0]))


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the cosine of each row of `left` [P, H] with each of `right` [Q, H], float64 [P, Q]; of a zero row it is 0."""
    return np.clip(_unit_rows(left) @ _unit_rows(right).T, -1.0, 1.0)


def _unit_rows(rows: np.ndarray) -> np.ndarray:
    values = np.asarray(rows, dtype=np.float64)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(norms > 0, norms, 1.0)
