"""The vocabulary of a backbone as methods see it: its embeddings, and how a text becomes ids."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from softprompt_tf.errors import PromptError

NUM_SPECIAL_IDS = 3  # pad, end of sequence, unknown: the first ids of every T5 vocabulary


@dataclasses.dataclass(frozen=True, eq=False)
class Vocabulary:
    """What an initializer may know of a backbone.

    Args:
      embeddings: [V, H] the input embedding table, floating.
      tokenize: text -> token ids, with no end of sequence added.
      num_pieces: pieces of the tokenizer; rows of the table from here on belong to no piece. None means all V rows do.
      fingerprint: returns that of the backbone's weights, "" where it is unknown; it is called where it is needed.
      output_embeddings: returns the rows of the output projection [V, H]. None: they are `embeddings`.
    """

    embeddings: np.ndarray
    tokenize: Callable[[str], list[int]]
    num_pieces: int | None = None
    fingerprint: Callable[[], str] = lambda: ""
    output_embeddings: Callable[[], np.ndarray] | None = None

    def __post_init__(self) -> None:
        shape = np.shape(self.embeddings)
        if len(shape) != 2:
            raise PromptError(f"`embeddings` must be a [V, H] table. Received: shape {list(shape)}.")
        if self.num_pieces is not None and not 0 < self.num_pieces <= shape[0]:
            raise PromptError(f"`num_pieces` must be 1 to V={shape[0]}. Received: num_pieces={self.num_pieces}.")

    @property
    def hidden_dim(self) -> int:
        """H, the width of one embedding."""
        return int(self.embeddings.shape[1])


def token_rows(vocabulary: Vocabulary, text: str) -> np.ndarray:
    """Return the embeddings [tokens, H] of a text, float32."""
    ids, table_rows = np.asarray(vocabulary.tokenize(text), dtype=np.int64), len(vocabulary.embeddings)
    if not ids.size:
        raise PromptError(f"A label or text must have at least one token. Received: {text!r}.")
    if ids.max() >= table_rows:
        raise PromptError(f"The tokenizer must fit the embeddings. Received: token id {ids.max()}, V={table_rows}.")
    return np.asarray(vocabulary.embeddings[ids], dtype=np.float32)


def output_rows(vocabulary: Vocabulary, texts: Sequence[str]) -> np.ndarray:
    """Return the mean output embedding of each text's tokens, float32 [C, H]."""
    table = vocabulary.embeddings if vocabulary.output_embeddings is None else vocabulary.output_embeddings()
    of_output = dataclasses.replace(vocabulary, embeddings=table)
    return np.stack([token_rows(of_output, text).mean(axis=0) for text in texts])
