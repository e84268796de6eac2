"""The batches of a mixture made by several processes, for an accelerator that takes them faster than one core makes them."""

import os
import pickle
import tempfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType

from softprompt_tf.pretraining.batches import GROUP, Batch, PretrainingBatches

Group = list[tuple[str, Batch]]
_in_this_process: PretrainingBatches | None = None


class ParallelBatches:
    """Makes the batches of a `PretrainingBatches`, the same ones in the same order, in processes of their own.

    A process makes a group of `GROUP` batches at a time. It loads the corpus, but neither TensorFlow nor JAX.

    Args:
      batches: what is made. It is copied into each process once.
      processes: how many.
      groups_ahead: how many groups may lie ready or be in the making, at least 1. Default: two for each process.

    Example:
      >>> with ParallelBatches(batches, processes=14) as parallel:
      ...     trainer.fit(parallel, held_out)
    """

    def __init__(self, batches: PretrainingBatches, *, processes: int, groups_ahead: int | None = None):
        self._groups_ahead = groups_ahead or 2 * processes
        handle, name = tempfile.mkstemp(suffix=".batches")
        self._file = Path(name)
        with os.fdopen(handle, "wb") as file:
            pickle.dump(batches, file)
        # Not forked: a copy of a process that runs TensorFlow or JAX can hang in their locks.
        self._pool = ProcessPoolExecutor(processes, get_context("spawn"), initializer=_load, initargs=(self._file,))

    def prefetch(self, first_step: int, last_step: int) -> Iterator[tuple[int, str, Batch]]:
        """Yield `(step, objective, batch)` of a range of steps, as `PretrainingBatches.prefetch` does."""
        numbers = iter(range(first_step // GROUP, -(-last_step // GROUP)))
        waiting: deque[tuple[int, Future[Group]]] = deque()
        try:
            while True:
                while len(waiting) < self._groups_ahead and (number := next(numbers, None)) is not None:
                    waiting.append((number, self._pool.submit(_group, number)))
                if not waiting:
                    return
                number, made = waiting.popleft()
                for step, batch in enumerate(made.result(), start=number * GROUP):
                    if first_step <= step < last_step:
                        yield step, *batch
        finally:
            for _, made in waiting:
                made.cancel()

    def __enter__(self) -> "ParallelBatches":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown(cancel_futures=True)
        self._file.unlink(missing_ok=True)


def _load(path: Path) -> None:
    global _in_this_process
    with path.open("rb") as file:
        _in_this_process = pickle.load(file)  # written by this very program, a moment ago


def _group(number: int) -> Group:
    assert _in_this_process is not None
    return _in_this_process.group(number)
