"""A corpus and a tokenizer in, padded pretraining batches out, each one a pure function of (seed, step).

That is what lets a run stop at any moment and go on as if it had not: batch number `step` is the same whenever it is
made.
"""

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import sentencepiece

from softprompt_tf.pretraining.instruction_tasks import draw_row
from softprompt_tf.pretraining.objectives import prefix_lm, span_corruption
from softprompt_tf.pretraining.passages import PassageSource

_INPUT_MULTIPLE = 16
_TARGET_MULTIPLE = 8
EOS_ID = 1
_SHORTEST_WINDOW = 16

Batch = dict[str, np.ndarray]
Ids = Sequence[int] | np.ndarray


@dataclass(frozen=True)
class Mixture:
    """How often each objective makes a batch.

    Args:
      span_corruption, prefix_lm, instructions: relative weights, at least one above 0.
      rows: rows of a batch of span corruption or prefix LM.
      instruction_rows: rows of a batch of instruction tasks, whose targets are short.
      window: tokens of a stretch of text, for span corruption and prefix LM.
      max_instruction_tokens: where the inputs of an instruction task are cut.
    """

    span_corruption: float = 0.0
    prefix_lm: float = 0.3
    instructions: float = 0.7
    rows: int = 48
    instruction_rows: int = 96
    window: int = 128
    max_instruction_tokens: int = 80

    @property
    def objectives(self) -> tuple[tuple[str, ...], np.ndarray]:
        """The names of the three objectives, always in one order, and the probability of each.

        The order belongs to what a seed means: the draw of a step's objective goes through it.
        """
        weights = {name: getattr(self, name) for name in ("span_corruption", "prefix_lm", "instructions")}
        total = sum(weights.values())
        return tuple(weights), np.array([weight / total for weight in weights.values()])


class PretrainingBatches:
    """Makes the batches of a mixture.

    Args:
      source: where the passages come from.
      tokenizer: the SentencePiece model.
      mixture: the objectives and their shares.
      vocabulary_size: V of the model; sentinels count down from V - 1.
      seed: the seed of everything that is drawn.
    """

    def __init__(
        self,
        source: PassageSource,
        tokenizer: sentencepiece.SentencePieceProcessor,
        mixture: Mixture,
        *,
        vocabulary_size: int,
        seed: int,
    ):
        self._source = source
        self._tokenizer = tokenizer
        self._mixture = mixture
        self._vocabulary_size = vocabulary_size
        self._seed = seed

    def batch(self, step: int) -> tuple[str, Batch]:
        """Return the name of the objective and the batch of one step.

        The batch holds `encoder_token_ids` [B, T], `decoder_token_ids` [B, U] (start id 0, then the targets shifted),
        `targets` [B, U] (0 where padded) and `encoder_padding_mask` [B, T], all int32.
        """
        rng = np.random.Generator(np.random.Philox(key=[self._seed, step]))
        names, shares = self._mixture.objectives
        objective = names[int(rng.choice(len(names), p=shares))]
        return objective, self.batch_of(objective, rng)

    def batch_of(self, objective: str, rng: np.random.Generator) -> Batch:
        """Return one batch of the named objective: "span_corruption", "prefix_lm" or "instructions"."""
        if objective == "instructions":
            pairs = self._instructions(rng)
        elif objective == "span_corruption":
            windows = self._windows(rng)
            pairs = [span_corruption(window, rng, vocabulary_size=self._vocabulary_size) for window in windows]
        else:
            pairs = self._prefixes(rng)
        # Few different shapes: oneDNN builds a kernel for every new one, which costs more than the padding.
        return pad_batch(
            [inputs for inputs, _ in pairs],
            [targets for _, targets in pairs],
            input_multiple=_INPUT_MULTIPLE,
            target_multiple=_TARGET_MULTIPLE,
        )

    def _instructions(self, rng: np.random.Generator) -> list[tuple[Ids, Ids]]:
        rows = [draw_row(self._source, rng)[1:] for _ in range(self._mixture.instruction_rows)]
        inputs = self._tokenizer.encode([row[0] for row in rows])
        targets = self._tokenizer.encode([row[1] for row in rows])
        longest = self._mixture.max_instruction_tokens
        return [(input_ids[:longest], target_ids) for input_ids, target_ids in zip(inputs, targets, strict=True)]

    def _prefixes(self, rng: np.random.Generator) -> list[tuple[Ids, Ids]]:
        """Cut every window; one draw per batch of where about keeps inputs and targets of alike length together."""
        windows = self._windows(rng)
        quarter, half, three_quarters = (self._mixture.window * k // 4 for k in (1, 2, 3))
        length = int(rng.choice([quarter, half, three_quarters]))
        return [
            prefix_lm(window, rng) if len(window) <= length else _cut_near(window, length, rng) for window in windows
        ]

    def _windows(self, rng: np.random.Generator) -> list[np.ndarray]:
        return [self._window(rng) for _ in range(self._mixture.rows)]

    def _window(self, rng: np.random.Generator) -> np.ndarray:
        """Return a stretch of one document of at most `window` tokens; short documents are drawn again."""
        while True:
            _, document = self._source.draw_document(rng)
            # A token is about four characters: enough text for the window from a random place, cut at a space.
            span = 6 * self._mixture.window
            start = int(rng.integers(max(1, len(document) - span + 1)))
            text = document[start : start + span]
            ids = self._tokenizer.encode(text.partition(" ")[2] if start else text)[: self._mixture.window]
            if len(ids) >= _SHORTEST_WINDOW:
                return np.array(ids, np.int32)

    def prefetch(self, first_step: int, last_step: int, *, depth: int = 8) -> Iterator[tuple[int, str, Batch]]:
        """Yield `(step, objective, batch)` of a range of steps, made by a thread ahead of time."""
        made: queue.Queue[tuple[int, str, Batch] | BaseException | None] = queue.Queue(depth)

        def make() -> None:
            try:
                for step in range(first_step, last_step):
                    made.put((step, *self.batch(step)))
                made.put(None)
            except BaseException as error:  # handed to the reader, who raises it
                made.put(error)

        threading.Thread(target=make, daemon=True).start()
        while (item := made.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item


def _cut_near(window: np.ndarray, length: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Cut a window of more than `length` tokens behind token `length` or up to half of `length` before it."""
    cut = length - int(rng.integers(0, length // 2))
    return window[:cut], window[cut:]


def pad_batch(
    inputs: Sequence[Ids], targets: Sequence[Ids], *, input_multiple: int = 1, target_multiple: int = 1
) -> Batch:
    """Append the end of sequence to B inputs and B targets and pad both with 0 to their longest row.

    Args:
      inputs, targets: B rows of ids.
      input_multiple, target_multiple: what the padded lengths are rounded up to multiples of.

    Returns:
      The arrays of a batch, as `PretrainingBatches.batch` describes them.
    """
    num_rows = len(inputs)
    num_inputs = _round_up(1 + max(len(ids) for ids in inputs), input_multiple)
    num_targets = _round_up(1 + max(len(ids) for ids in targets), target_multiple)
    encoder = np.zeros((num_rows, num_inputs), np.int32)
    labels = np.zeros((num_rows, num_targets), np.int32)
    for k, (input_ids, target_ids) in enumerate(zip(inputs, targets, strict=True)):
        encoder[k, : len(input_ids) + 1] = [*input_ids, EOS_ID]
        labels[k, : len(target_ids) + 1] = [*target_ids, EOS_ID]
    decoder = np.concatenate([np.zeros((num_rows, 1), np.int32), labels[:, :-1]], axis=1)
    return {
        "encoder_token_ids": encoder,
        "encoder_padding_mask": (encoder != 0).astype(np.int32),
        "decoder_token_ids": decoder,
        "targets": labels,
    }


def _round_up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple
