"""Padded pretraining batches, each a pure function of (seed, step).

That is what lets a run stop at any moment and go on as if it had not: batch number `step` is the same whenever it is
made. The rows of a few batches in a row are drawn together and sorted by length before they are dealt out, so that little of
a batch is padding.
"""

import math
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.pretraining.corpus_tokenizer import CorpusTokenizer
from softprompt_tf.pretraining.instruction_tasks import draw_row, task_weights
from softprompt_tf.pretraining.objectives import prefix_lm, span_corruption
from softprompt_tf.pretraining.passages import PassageSource
from softprompt_tf.pretraining.ranges import check_least

EOS_ID = 1
_SHORTEST_WINDOW = 16
_LONGEST_CORRUPTED = 2000  # tokens, of which 15 % are cut out in spans of 3: one for each of T5's 100 sentinels
_MOST_DRAWS = 10_000  # until a corpus is taken for one of short documents alone
GROUP = 64  # batches whose rows are drawn and sorted together

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
      task_weights: how often instruction tasks are drawn, in place of their own weights in `INSTRUCTION_TASKS`; 0 leaves a
        task out.

    Raises:
      ConfigError: if no objective has a weight above 0, or one has a weight below 0; if `task_weights` names no task, or has a
        weight below 0; if there are no rows, or a window is too short, or too long for span corruption.
    """

    span_corruption: float = 0.0
    prefix_lm: float = 0.3
    instructions: float = 0.7
    rows: int = 64
    instruction_rows: int = 128
    window: int = 128
    max_instruction_tokens: int = 80
    task_weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_least(1, rows=self.rows, instruction_rows=self.instruction_rows)
        check_least(_SHORTEST_WINDOW, window=self.window)
        weights = self._weights
        if not all(0 <= weight < math.inf for weight in weights.values()) or not sum(weights.values()):
            raise ConfigError(f"Weights of objectives must be at least 0, and one above 0. Received: {weights}.")
        if self.span_corruption and self.window > _LONGEST_CORRUPTED:
            raise ConfigError(
                f"`window` must be at most {_LONGEST_CORRUPTED} tokens for span corruption, as T5 has 100 sentinels. "
                f"Received: {self.window}."
            )
        task_weights(self.task_weights)  # told now, and not by the thread that makes the batches

    @property
    def objectives(self) -> tuple[tuple[str, ...], np.ndarray]:
        """The names of the three objectives, always in one order, and the probability of each.

        The order belongs to what a seed means: the draw of a step's objective goes through it.
        """
        weights = self._weights
        total = sum(weights.values())
        return tuple(weights), np.array([weight / total for weight in weights.values()])

    @property
    def _weights(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in ("span_corruption", "prefix_lm", "instructions")}


class PretrainingBatches:
    """Makes the batches of a mixture.

    Args:
      source: where the passages come from.
      tokenizer: the SentencePiece model, or what does more.
      mixture: the objectives and their shares.
      first_sentinel: the id of sentinel 0, from which sentinels count down.
      seed: the seed of everything that is drawn.
      input_multiple, target_multiple: what the padded lengths are rounded up to multiples of. The defaults are for oneDNN,
        which builds a kernel for every new shape; XLA compiles the whole step anew, so it wants fewer shapes.
    """

    def __init__(
        self,
        source: PassageSource,
        tokenizer: CorpusTokenizer,
        mixture: Mixture,
        *,
        first_sentinel: int,
        seed: int,
        input_multiple: int = 8,
        target_multiple: int = 4,
    ):
        self._source = source
        self._tokenizer = tokenizer
        self._mixture = mixture
        self._task_weights = task_weights(mixture.task_weights)
        self._first_sentinel = first_sentinel
        self._seed = seed
        self._multiples = {"input_multiple": input_multiple, "target_multiple": target_multiple}
        self._last_group: tuple[int, list[tuple[str, Batch]]] | None = None

    def batch(self, step: int) -> tuple[str, Batch]:
        """Return the name of the objective and the batch of one step.

        The batch holds `encoder_token_ids` [B, T], `decoder_token_ids` [B, U] (start id 0, then the targets shifted),
        `targets` [B, U] (0 where padded) and `encoder_padding_mask` [B, T], all int32.
        """
        number, place = divmod(step, GROUP)
        if self._last_group is None or self._last_group[0] != number:
            self._last_group = (number, self.group(number))
        return self._last_group[1][place]

    def group(self, number: int) -> list[tuple[str, Batch]]:
        """Return what `batch` gives for the steps `number * GROUP` to `(number + 1) * GROUP - 1`.

        The objectives of these steps are drawn, then the rows of each objective together; they are dealt out by length.
        """
        rng = np.random.Generator(np.random.Philox(key=[self._seed, number]))
        names, shares = self._mixture.objectives
        drawn = rng.choice(len(names), size=GROUP, p=shares)
        dealt: dict[int, Batch] = {}
        for k, objective in enumerate(names):
            places = rng.permutation(np.flatnonzero(drawn == k))
            pairs = [pair for _ in places for pair in self._pairs(objective, rng)]
            pairs.sort(key=lambda pair: (len(pair[0]), len(pair[1])))
            num_rows = len(pairs) // max(1, len(places))
            for n, place in enumerate(places):
                dealt[int(place)] = self._padded(pairs[n * num_rows : (n + 1) * num_rows])
        return [(names[objective], dealt[place]) for place, objective in enumerate(drawn)]

    def batch_of(self, objective: str, rng: np.random.Generator) -> Batch:
        """Return one batch of the named objective: "span_corruption", "prefix_lm" or "instructions"."""
        return self._padded(self._pairs(objective, rng))

    def _pairs(self, objective: str, rng: np.random.Generator) -> list[tuple[Ids, Ids]]:
        """Return the inputs and targets of one batch's rows."""
        if objective == "instructions":
            return self._instructions(rng)
        windows = [self._window(rng) for _ in range(self._mixture.rows)]
        if objective == "span_corruption":
            return [span_corruption(window, rng, first_sentinel=self._first_sentinel) for window in windows]
        return [prefix_lm(window, rng) for window in windows]

    def _instructions(self, rng: np.random.Generator) -> list[tuple[Ids, Ids]]:
        rows = [
            draw_row(self._source, rng, weights=self._task_weights)[1:] for _ in range(self._mixture.instruction_rows)
        ]
        inputs = self._tokenizer.encode([row[0] for row in rows])
        targets = self._tokenizer.encode([row[1] for row in rows])
        longest = self._mixture.max_instruction_tokens
        return [(input_ids[:longest], target_ids) for input_ids, target_ids in zip(inputs, targets, strict=True)]

    def _window(self, rng: np.random.Generator) -> np.ndarray:
        """Return a stretch of one document of at most `window` tokens; short documents are drawn again."""
        for _ in range(_MOST_DRAWS):
            _, document = self._source.draw_document(rng)
            # A token is about four characters: enough text for the window from a random place, cut at a space.
            span = 6 * self._mixture.window
            start = int(rng.integers(max(1, len(document) - span + 1)))
            text = document[start : start + span]
            ids = self._tokenizer.encode(text.partition(" ")[2] if start else text)[: self._mixture.window]
            if len(ids) >= _SHORTEST_WINDOW:
                return np.array(ids, np.int32)
        raise DataError(
            f"Documents must have {_SHORTEST_WINDOW} tokens or more. Received: {_MOST_DRAWS:,} drawn in a row that have fewer. "
            "Give longer documents, or a vocabulary that knows their letters."
        )

    def _padded(self, pairs: Sequence[tuple[Ids, Ids]]) -> Batch:
        """Pad the rows of a batch."""
        inputs, targets = zip(*pairs, strict=True)
        return pad_batch(inputs, targets, **self._multiples)

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
