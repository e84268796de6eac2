"""The states of some texts, and how the batches of a run get them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from softprompt_tf.errors import DataError
from softprompt_tf.shown_numbers import counted
from softprompt_tf.states.ragged_rows import RaggedRows

Ids = Sequence[int] | np.ndarray

TextsOfStep = Callable[[int], np.ndarray]
"""The number of a step, from 0 -> the rows of states of its batch, int64 [B]."""

_STEPS_AT_ONCE = 64


@dataclass(frozen=True)
class TextStates:
    """States of distinct texts.

    Args:
      rows: the states, a row for each text.
      numbers: a text's token ids as bytes -> its row.
    """

    rows: RaggedRows
    numbers: dict[bytes, int]

    def numbers_of(self, token_ids: Sequence[Ids]) -> np.ndarray:
        """Return each text's row, int64 [N].

        Raises:
          DataError: if there are texts without states.
        """
        numbers = [self.numbers.get(key_of(ids), -1) for ids in token_ids]
        if -1 in numbers:
            raise DataError(
                f"Every text must have cached states. Received: {counted(numbers.count(-1), 'text')} without them."
            )
        return np.array(numbers, np.int64)

    def windows(self, texts_of: TextsOfStep, *, first_step: int, last_step: int | None) -> Iterator[range]:
        """Yield the steps of a run, some at a time, when the states of their batches are there.

        Args:
          texts_of: the run's batches.
          first_step: where it begins.
          last_step: where it ends; None: nowhere.
        """
        step = first_step
        while last_step is None or step < last_step:
            stop = step + _STEPS_AT_ONCE if last_step is None else min(step + _STEPS_AT_ONCE, last_step)
            yield range(step, stop)
            step = stop


def key_of(ids: Ids) -> bytes:
    """Return what a text is known by: its token ids as bytes."""
    return np.asarray(ids, np.int32).tobytes()
