"""Similarity of several prompts, as tables of cosines [K, K]; 1 - cosine is a distance."""

from collections.abc import Callable, Sequence

import numpy as np

from softprompt_tf.errors import PromptError
from softprompt_tf.interpretability.clusters import cosines


def mean_cosine(prompts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the cosine between the prompts' mean vectors.

    Args:
      prompts: K arrays [P_k, H]; their lengths may differ.

    Returns:
      float64 [K, K] in [-1, 1]; symmetric.

    Raises:
      PromptError: if there is no prompt, or their widths differ.

    Source: Vu et al. 2022, SPoT, section 5.1, arXiv:2110.07904, "cosine similarity of average tokens".
    """
    _check(prompts)
    means = np.stack([np.asarray(prompt, np.float64).mean(axis=0) for prompt in prompts])  # [K, H]
    return cosines(means, means)


def token_cosine(prompts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean cosine over all pairs of vectors, one of each prompt.

    A prompt is less than 1 like itself, as its own vectors differ.

    Args:
      prompts: K arrays [P_k, H]; their lengths may differ.

    Returns:
      float64 [K, K] in [-1, 1]; symmetric.

    Raises:
      PromptError: if there is no prompt, or their widths differ.

    Source: Vu et al. 2022, SPoT, section 5.1, arXiv:2110.07904, "per-token average cosine similarity".
    """
    _check(prompts)
    return _table(prompts, lambda left, right: float(cosines(left, right).mean()))


def matched_cosine(prompts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean cosine over best-matching pairs of vectors.

    Each vector of one prompt is paired with the vector of the other that it is most like; the mean is taken over the
    pairs of the one side and over those of the other, and then over the two. So the order of the vectors does not
    matter, nor do different lengths.

    Args:
      prompts: K arrays [P_k, H].

    Returns:
      float64 [K, K] in [-1, 1]; symmetric.

    Raises:
      PromptError: if there is no prompt, or their widths differ.
    """
    _check(prompts)
    return _table(prompts, _best_pairs)


def _best_pairs(left: np.ndarray, right: np.ndarray) -> float:
    pairs = cosines(left, right)  # [P, Q]
    return float((pairs.max(axis=1).mean() + pairs.max(axis=0).mean()) / 2)


def _table(prompts: Sequence[np.ndarray], measure: Callable[[np.ndarray, np.ndarray], float]) -> np.ndarray:
    table = np.empty((len(prompts), len(prompts)))
    for row, left in enumerate(prompts):
        for column in range(row, len(prompts)):
            table[row, column] = table[column, row] = measure(left, prompts[column])
    return table


def _check(prompts: Sequence[np.ndarray]) -> None:
    shapes = [list(np.shape(prompt)) for prompt in prompts]
    if not shapes or any(len(shape) != 2 or not shape[0] or shape[1] != shapes[0][1] for shape in shapes):
        raise PromptError(f"Prompts to compare must be [P, H] arrays of one width. Received: {shapes}.")
