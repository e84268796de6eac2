"""States that are computed when a run's batches come to them: training begins at once, and what no batch has is not computed.

A state's last bits depend on the rows that are computed with it. So these are laid down by the run's order from its first step,
and a run that is resumed computes the same ones.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from softprompt_tf.states.encoding import rows_of_batches
from softprompt_tf.states.host_rows import HostRows
from softprompt_tf.states.text_states import TextsOfStep, TextStates

FIRST_ROWS = 256  # of the batches of the first window: the first step waits for their states
MOST_ROWS = 1_024  # of a later one: enough texts of each length to compute together


@dataclass(frozen=True)
class StatesAsNeeded(TextStates):
    """States of distinct texts, which `windows` computes.

    Args:
      texts: token ids, int32, in the order of the rows, the shortest first.
      compute: the token ids of some texts -> their states [sum of the lengths, H], in what `host` keeps, or float32 where that
        cannot hold them.
      host: the memory that they go to.
    """

    texts: Sequence[np.ndarray]
    compute: Callable[[Sequence[np.ndarray]], np.ndarray]
    host: HostRows
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def windows(self, texts_of: TextsOfStep, *, first_step: int, last_step: int | None) -> Iterator[range]:
        batches = _Batches(self.texts, texts_of, last_step)
        for window in batches.windows:
            batches.plan(window)
            steps = range(max(window.start, first_step), window.stop)
            if not steps:
                continue
            with self._lock:
                for numbers in batches.of(steps):
                    self._make(numbers)
            yield steps

    def _make(self, numbers: np.ndarray) -> None:
        """Compute the states of texts that belong together, once."""
        missing = numbers[~self.host.is_there[numbers]]
        if not len(missing):
            return
        states, lengths = self.compute([self.texts[number] for number in numbers]), self.host.lengths[numbers]
        for number, part in zip(numbers, np.split(states, np.cumsum(lengths)[:-1]), strict=True):
            self.host.put(number, part)


class _Batches:
    """Which texts are computed together: those that a window of a run's steps is the first to have, by length."""

    def __init__(self, texts: Sequence[np.ndarray], texts_of: TextsOfStep, last_step: int | None):
        self._texts = texts
        self._texts_of = texts_of
        self._last_step = last_step
        self._batch_of = np.full(len(texts), -1)
        self._batches: list[np.ndarray] = []

    @property
    def windows(self) -> Iterator[range]:
        """The steps of the whole run: few in the first window, so that it begins soon, then twice as many each time."""
        start, rows = 0, FIRST_ROWS
        batch_size = len(self._texts_of(0))
        while self._last_step is None or start < self._last_step:
            stop = start + max(1, rows // batch_size)
            yield range(start, stop if self._last_step is None else min(stop, self._last_step))
            start, rows = stop, min(2 * rows, MOST_ROWS)

    def plan(self, steps: range) -> None:
        """Put the texts that no earlier window has into batches."""
        numbers = self._numbers(steps)
        new = numbers[self._batch_of[numbers] < 0]
        for part in rows_of_batches([self._texts[number] for number in new]):
            self._batch_of[new[part]] = len(self._batches)
            self._batches.append(new[part])

    def of(self, steps: range) -> Iterator[np.ndarray]:
        """Yield the batches that the texts of some steps are in."""
        for batch in np.unique(self._batch_of[self._numbers(steps)]):
            yield self._batches[batch]

    def _numbers(self, steps: range) -> np.ndarray:
        """The texts of steps, each once, the shortest first."""
        return np.unique(np.concatenate([self._texts_of(step) for step in steps]))
