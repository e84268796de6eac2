"""Find the tokens that are nearest to each row of a prompt."""

import numpy as np

from softprompt_tf.errors import PromptError

CHUNK_ROWS = 8192  # of the embedding table at a time, which bounds the memory at [P, CHUNK_ROWS] similarities


def nearest_neighbours(prompt: np.ndarray, embeddings: np.ndarray, *, count: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Return the tokens whose embeddings point most nearly where each row of a prompt does.

    Args:
      prompt: [P, H].
      embeddings: [V, H].
      count: neighbours per row, 1 to V.

    Returns:
      Token ids int64 [P, count] and cosine similarities float32 [P, count] in [-1, 1], nearest first; of equally near
      tokens the lower id comes first. A row of zeros has the similarity 0 to everything.

    Raises:
      PromptError: if the widths differ or `count` is out of range.

    Source: Lester et al. 2021, section 7, arXiv:2104.08691.
    """
    _check(np.shape(prompt), np.shape(embeddings), count)
    directions = _unit_rows(prompt)  # [P, H]
    ids = np.empty((len(directions), 0), dtype=np.int64)
    cosine = np.empty((len(directions), 0), dtype=np.float32)
    for start in range(0, len(embeddings), CHUNK_ROWS):
        chunk = _unit_rows(embeddings[start : start + CHUNK_ROWS])  # [C, H]
        chunk_ids = np.broadcast_to(np.arange(start, start + len(chunk)), (len(directions), len(chunk)))
        cosine = np.concatenate([cosine, directions @ chunk.T], axis=1)  # [P, kept + C]
        ids = np.concatenate([ids, chunk_ids], axis=1)
        order = np.argsort(-cosine, axis=1, kind="stable")[:, :count]  # stable: equal ones stay sorted by id
        cosine, ids = np.take_along_axis(cosine, order, axis=1), np.take_along_axis(ids, order, axis=1)
    return ids, np.clip(cosine, -1.0, 1.0)


def _unit_rows(rows: np.ndarray) -> np.ndarray:
    values = np.asarray(rows, dtype=np.float32)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(norms > 0, norms, np.float32(1))


def _check(prompt_shape: tuple[int, ...], table_shape: tuple[int, ...], count: int) -> None:
    if len(prompt_shape) != 2 or len(table_shape) != 2 or prompt_shape[1] != table_shape[1]:
        raise PromptError(
            "A prompt [P, H] must be as wide as the embeddings [V, H]. "
            f"Received: prompt {list(prompt_shape)}, embeddings {list(table_shape)}."
        )
    if not 1 <= count <= table_shape[0]:
        raise PromptError(f"`count` must be 1 to V={table_shape[0]}. Received: count={count}.")
