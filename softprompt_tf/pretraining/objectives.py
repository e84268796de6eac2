"""T5's span corruption and the prefix-LM objective of LM adaptation, on token ids.

Every function is pure: it takes a window of ids [T] and a NumPy generator, and returns two arrays without the end of
sequence, which the batcher appends. Sentinel number k is id `first_sentinel - k`, as in T5.
"""

import numpy as np


def span_corruption(
    ids: np.ndarray,
    rng: np.random.Generator,
    *,
    first_sentinel: int,
    noise_density: float = 0.15,
    mean_span_length: float = 3.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Replace random spans by sentinels; the targets hold the sentinels and what stood there.

    Args:
      ids: [T] token ids, T >= 2.
      rng: the source of the span borders.
      first_sentinel: the id of sentinel 0; the others count down from it.
      noise_density: the share of tokens that is noise, in (0, 1).
      mean_span_length: the mean length of a noise span, in tokens.

    Returns:
      inputs and targets. Both start as T5's do: the window opens with kept tokens, the targets with sentinel 0.

    Source: Raffel et al. 2020, section 3.1.4, arXiv:1910.10683; the span lengths follow
    google-research/text-to-text-transfer-transformer:t5/data/preprocessors.py (random_spans_noise_mask).
    """
    length = len(ids)
    num_noise = int(np.clip(round(length * noise_density), 1, length - 1))
    num_spans = max(1, min(round(num_noise / mean_span_length), num_noise, length - num_noise))
    noise_lengths = _random_partition(num_noise, num_spans, rng)
    kept_lengths = _random_partition(length - num_noise, num_spans, rng)
    inputs: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    position = 0
    for span, (kept, noise) in enumerate(zip(kept_lengths, noise_lengths, strict=True)):
        sentinel = np.array([first_sentinel - span], ids.dtype)
        inputs += [ids[position : position + kept], sentinel]
        targets += [sentinel, ids[position + kept : position + kept + noise]]
        position += kept + noise
    return np.concatenate(inputs), np.concatenate(targets)


def prefix_lm(ids: np.ndarray, rng: np.random.Generator, *, shortest: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Cut a window at a random point: the text before it is the input, the text after it the target.

    Args:
      ids: [T] token ids, T >= 2 * shortest.
      rng: the source of the cut.
      shortest: the least number of tokens on either side of the cut.

    Returns:
      inputs and targets; together they are `ids`.

    Source: Raffel et al. 2020, section 3.2.3; Lester et al. 2021, section 3.2 ("LM adaptation").
    """
    cut = int(rng.integers(shortest, len(ids) - shortest + 1))
    return ids[:cut], ids[cut:]


def _random_partition(total: int, parts: int, rng: np.random.Generator) -> np.ndarray:
    """Split `total` into `parts` lengths of at least 1, all such splits equally likely."""
    borders = np.sort(rng.choice(total - 1, size=parts - 1, replace=False)) + 1
    return np.diff(np.concatenate([[0], borders, [total]]))
