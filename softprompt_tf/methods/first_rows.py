"""The rows that initializers draw. They are functions of this module, so that an initializer can be pickled.

Each has the settings of its initializer first, then the vocabulary, the seed and the shape [P, H].
"""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from softprompt_tf.errors import PromptError
from softprompt_tf.methods.files.prompt_file import load_prompt
from softprompt_tf.methods.vocabulary import NUM_SPECIAL_IDS, Vocabulary, token_rows
from softprompt_tf.shown_numbers import counted

Initializer = Callable[[Vocabulary], Callable[[int, tuple[int, int]], np.ndarray]]


def uniform_rows(scale: float, vocabulary: Vocabulary, seed: int, shape: tuple[int, int]) -> np.ndarray:
    """Return rows uniform in [-scale, scale)."""
    return _generator(seed).uniform(-scale, scale, shape)


def sampled_rows(population_size: int, vocabulary: Vocabulary, seed: int, shape: tuple[int, int]) -> np.ndarray:
    """Return embeddings of pieces drawn from the most frequent ones."""
    num_pieces = vocabulary.num_pieces or len(vocabulary.embeddings)
    population = np.arange(NUM_SPECIAL_IDS, min(NUM_SPECIAL_IDS + population_size, num_pieces))
    if not population.size:
        raise PromptError(
            f"`sampled_vocabulary` needs more than {NUM_SPECIAL_IDS} pieces. Received: {counted(num_pieces, 'piece')}."
        )
    ids = _generator(seed).choice(population, shape[0], replace=shape[0] > population.size)
    return np.asarray(vocabulary.embeddings[ids])  # [P, H]


def label_rows(
    names: Sequence[str], rest: Initializer, vocabulary: Vocabulary, seed: int, shape: tuple[int, int]
) -> np.ndarray:
    """Return a row for each label, the mean of its tokens' embeddings, and below them rows of `rest`."""
    if len(names) > shape[0]:
        raise PromptError(
            f"A prompt must have a row for each class label. Received: {counted(len(names), 'label')}, length={shape[0]}. "
            "Make the prompt longer or use `sampled_vocabulary`."
        )
    rows = np.stack([token_rows(vocabulary, name).mean(axis=0) for name in names])  # [C, H]
    return _fill(rows, rest, vocabulary, seed, shape)


def text_rows(text: str, rest: Initializer, vocabulary: Vocabulary, seed: int, shape: tuple[int, int]) -> np.ndarray:
    """Return the embeddings of a text's tokens, and below them rows of `rest`."""
    rows = token_rows(vocabulary, text)  # [tokens, H]
    if len(rows) > shape[0]:
        warnings.warn(
            f"The text of the prompt is cut: it has {counted(len(rows), 'token')} and the prompt "
            f"{counted(shape[0], 'row')}.",
            stacklevel=2,
        )
    return _fill(rows[: shape[0]], rest, vocabulary, seed, shape)


def array_rows(values: np.ndarray, vocabulary: Vocabulary, seed: int, shape: tuple[int, int]) -> np.ndarray:
    """Return a copy of an array's rows."""
    return _exactly(values, shape, "The array").copy()


def file_rows(path: str | Path, vocabulary: Vocabulary, seed: int, shape: tuple[int, int]) -> np.ndarray:
    """Return the rows of a prompt file."""
    task = load_prompt(path)
    rows = _exactly(task.prompt, shape, f"The prompt file {path}")
    if task.backbone_fingerprint and vocabulary.fingerprint() not in ("", task.backbone_fingerprint):
        warnings.warn(
            f"The prompt file {path} was trained on another backbone, {task.backbone}, so it is a poor start. "
            "Recycle it for this one: softprompt recycle.",
            stacklevel=2,
        )
    return rows


def _generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def _fill(
    rows: np.ndarray, fallback: Initializer, vocabulary: Vocabulary, seed: int, shape: tuple[int, int]
) -> np.ndarray:
    """Return `rows` and below them rows of the fallback, [P, H] together."""
    missing = shape[0] - len(rows)
    if not missing:
        return rows
    return np.concatenate([rows, fallback(vocabulary)(seed, (missing, shape[1]))])


def _exactly(values: np.ndarray, shape: tuple[int, int], subject: str) -> np.ndarray:
    if values.shape != tuple(shape):
        raise PromptError(
            f"{subject} must have the prompt's exact shape. Received: {list(values.shape)} for a prompt {list(shape)}. "
            f"Set the prompt's length to {values.shape[0]} where only the length differs."
        )
    return values
