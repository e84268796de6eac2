"""Tokenize examples, cut them, and pad rows into a batch. B rows, T input tokens, U target tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.prompt_places import NO_PLACES, TextPlaces, Tokenize, cut_ids
from softprompt_tf.tasks.task import Example

Ids = npt.NDArray[np.int32]
Batch = tuple[dict[str, Ids], Ids]

_TEXTS_PER_CALL = 1_024


@dataclass(frozen=True)
class TokenizedExamples:
    """Token ids of N rows.

    Args:
      encoder_token_ids: N int32 arrays, each the input's ids and the end of sequence.
      target_token_ids: N int32 arrays, each the target's ids (behind a sentinel, where the task's format has one) and the
        end of sequence.
      task_indices: int32 [N], which task each row belongs to.
    """

    encoder_token_ids: tuple[Ids, ...]
    target_token_ids: tuple[Ids, ...]
    task_indices: Ids

    def __post_init__(self) -> None:
        counts = (len(self.encoder_token_ids), len(self.target_token_ids), len(self.task_indices))
        if len(set(counts)) != 1:
            raise DataError(f"Inputs, targets and task indices must be equally many. Received: {counts}.")

    def __len__(self) -> int:
        return len(self.encoder_token_ids)

    @classmethod
    def concatenate(cls, parts: Sequence["TokenizedExamples"]) -> "TokenizedExamples":
        """Join the rows of several tasks, in order."""
        if not parts:
            raise DataError("There must be at least one part to concatenate. Received: none.")
        return cls(
            tuple(ids for part in parts for ids in part.encoder_token_ids),
            tuple(ids for part in parts for ids in part.target_token_ids),
            np.concatenate([part.task_indices for part in parts]).astype(np.int32),
        )

    def batch(
        self,
        rows: npt.NDArray[np.int64],
        *,
        with_task_id: bool,
        pad_id: int,
        start_id: int,
        pad_to_multiple_of: int = 1,
        target_width: int = 0,
    ) -> Batch:
        """Pad some rows to the longest of them.

        Args:
          rows: [B] row numbers.
          with_task_id: whether `x` holds the rows' task indices.
          pad_id: fills token ids; y is filled with 0 whatever it is.
          start_id: the decoder's first token.
          pad_to_multiple_of: T is the longest input's length, rounded up to a multiple of this.
          target_width: U is at least this; default the longest target's length.

        Returns:
          x: `encoder_token_ids` and `encoder_padding_mask` int32 [B, T] (mask 1 = token), `decoder_token_ids` (the
            target, moved one to the right behind `start_id`) and `decoder_padding_mask` int32 [B, U], and `task_id`
            int32 [B] where asked for.
          y: the target's ids, int32 [B, U], 0 behind its end.
        """
        encoder_ids, encoder_mask = _padded([self.encoder_token_ids[row] for row in rows], pad_id, pad_to_multiple_of)
        targets = [self.target_token_ids[row] for row in rows]
        y, decoder_mask = _padded(targets, 0, width=target_width)
        shifted = [np.concatenate([[start_id], ids[:-1]]) for ids in targets]
        decoder_ids, _ = _padded(shifted, pad_id, width=target_width)
        x = {
            "encoder_token_ids": encoder_ids,
            "encoder_padding_mask": encoder_mask,
            "decoder_token_ids": decoder_ids,
            "decoder_padding_mask": decoder_mask,
        }
        if with_task_id:
            x["task_id"] = self.task_indices[rows]
        return x, y


def tokenize_examples(
    examples: Sequence[Example],
    tokenize: Tokenize,
    *,
    max_input_tokens: int,
    max_target_tokens: int,
    eos_id: int = 1,
    opening_id: int = 0,
    task_index: int = 0,
    places: TextPlaces = NO_PLACES,
    label_words: Sequence[str] = (),
) -> TokenizedExamples:
    """Turn examples into token ids.

    Args:
      examples: rows as text; empty texts are fine and become the end of sequence alone.
      tokenize: texts -> ids without the end of sequence.
      max_input_tokens: inputs are cut to one less, then the end of sequence follows.
      max_target_tokens: the same for targets.
      eos_id: the end of sequence.
      opening_id: the sentinel in front of every target, not counted in `max_target_tokens`; 0 for none.
      task_index: which task these rows belong to.
      places: of the prompt's rows in the inputs, a model's `text_places`; their placeholders are never cut.
      label_words: of a model that trains rows for them, whose targets are one id each: see `label_id`.

    Raises:
      ConfigError: if a limit is below 1.
      DataError: if the markers of an input ask for more rows than there are, or a target is none of `label_words`.

    Source: google-research/text-to-text-transfer-transformer, `append_eos_after_trim` (cut first, then end).
    """
    for name, limit in (("max_input_tokens", max_input_tokens), ("max_target_tokens", max_target_tokens)):
        if limit < 1:
            raise ConfigError(f"`{name}` must be a whole number above 0. Received: {limit}.")
    return TokenizedExamples(
        _cut(
            [example.inputs for example in examples],
            lambda texts: places.tokenize(texts, tokenize),
            max_input_tokens,
            eos_id,
            0,
        ),
        tuple(np.array([label_id(example.target, label_words)], np.int32) for example in examples)
        if label_words
        else _cut([example.target for example in examples], tokenize, max_target_tokens, eos_id, opening_id),
        np.full(len(examples), task_index, np.int32),
    )


def label_id(text: str, label_words: Sequence[str]) -> int:
    """Return the id of a label that has a row of its own: 1 + its place, as 0 is padding.

    Raises:
      DataError: if the text is no label.
    """
    if text not in label_words:
        raise DataError(
            f"A target of a model with label rows must be one of its labels: {', '.join(label_words)}. Received: {text[:80]!r}."
        )
    return 1 + label_words.index(text)


def ended_ids(ids: Sequence[int], limit: int, *, opening_id: int = 0, eos_id: int = 1) -> list[int]:
    """Cut a text's ids and end them.

    Args:
      ids: without an end of sequence.
      limit: where they are cut, the end of sequence included; placeholders of a prompt's rows stay and do not count.
      opening_id: stands in front of them, not counted in `limit`, so that it never costs a label its last piece; 0: nothing
        stands there.
      eos_id: the end of sequence.
    """
    opening = [opening_id] if opening_id else []
    return [*opening, *cut_ids(ids, limit - 1), eos_id]


def _cut(texts: list[str], tokenize: Tokenize, limit: int, eos_id: int, opening_id: int) -> tuple[Ids, ...]:
    return tuple(
        np.asarray(ended_ids(ids, limit, opening_id=opening_id, eos_id=eos_id), np.int32)
        for start in range(0, len(texts), _TEXTS_PER_CALL)
        for ids in tokenize(texts[start : start + _TEXTS_PER_CALL])
    )


def _padded(
    rows: Sequence[npt.NDArray[np.integer]], pad_id: int, multiple_of: int = 1, *, width: int = 0
) -> tuple[Ids, Ids]:
    """Return ids and mask [B, T], T the longest row's length rounded up, and at least `width`."""
    lengths = np.array([len(row) for row in rows])
    width = max(width, -(-lengths.max() // multiple_of) * multiple_of)
    mask = np.arange(width) < lengths[:, None]  # [B, T]
    ids = np.full(mask.shape, pad_id, np.int32)
    ids[mask] = np.concatenate(rows)  # row by row, so the k-th true place takes the k-th id
    return ids, mask.astype(np.int32)
