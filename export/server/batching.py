"""Merge concurrent requests into one run, and split its outputs.

A version of a model has one queue per signature and set of outputs. A queue gathers rows into batches; a pool of
threads, shared by all queues in turn, runs a batch when it is full or its first request has waited long enough.

Source: tensorflow/tensorflow core/kernels/batching_util/shared_batch_scheduler.h (queues, capacity, order, texts) and
tensorflow/serving batching/batching_session.cc (one status for all requests of a run, deadlines).
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TypeAlias

import tensorflow as tf

from softprompt_tf.errors import ServingError
from softprompt_tf.export.server.batch_tensors import Tensors, count_rows, cut_rows, join_rows, merge_rows, split_rows
from softprompt_tf.export.server.batching_parameters import BatchingParameters

Run: TypeAlias = Callable[[Tensors], Tensors]

_FULL = "The batch scheduling queue to which this task was submitted is full; "

logger = logging.getLogger(__name__)


class VersionBatcher:
    """Run the requests of one loaded version merged with each other."""

    def __init__(self, scheduler: "BatchScheduler"):
        self._scheduler = scheduler
        self._queues: dict[Hashable, _Queue] = {}
        self._lock = threading.Lock()

    def run(self, run: Run, inputs: Tensors, *, queue: Hashable, timeout_s: float | None = None) -> Tensors:
        """Return the outputs of one request, once a run that holds its rows is over.

        Args:
          run: merged inputs to outputs; every request of the same queue must bring an equal one.
          inputs: tensors of the same dim 0, by name.
          queue: which requests may be merged: those of an equal key.
          timeout_s: seconds until nobody waits for the answer any more; None means never.

        Raises:
          ServingError: if the request cannot be merged (INVALID_ARGUMENT, FAILED_PRECONDITION), too many are waiting
            (UNAVAILABLE), all requests of its batch came too late (RESOURCE_EXHAUSTED), or the run failed: that
            status goes to all of its requests.
        """
        rows = count_rows([tensor.shape for tensor in inputs.values()])
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        with self._lock:
            chosen = self._queues.setdefault(queue, _Queue(self._scheduler.parameters))
        return self._scheduler.submit(chosen, _Part(run, inputs, rows, deadline_s)).wait()


class BatchScheduler:
    """Threads that run the batches of all queues; start one per server and close it at the end."""

    def __init__(self, parameters: BatchingParameters):
        self.parameters = parameters
        self._waiting: deque[_Queue] = deque()  # queues that hold requests, the next to be served in front
        self._changed = threading.Condition()
        self._closing = False
        names = [f"{parameters.thread_pool_name}_{number}" for number in range(parameters.threads)]
        self._threads = [threading.Thread(target=self._work, name=name, daemon=True) for name in names]
        for thread in self._threads:
            thread.start()

    def submit(self, queue: "_Queue", request: "_Part") -> "_Call":
        """Put a request, in parts where it must be split, into a queue; the result can be waited for."""
        with self._changed:
            if self._closing:
                raise ServingError("The batch scheduler is closed", status="UNAVAILABLE")
            sizes = queue.plan(request.rows)
            call = _Call(len(sizes))
            pieces = cut_rows(request.inputs, sizes) if len(sizes) > 1 else [request.inputs]
            for index, (inputs, rows) in enumerate(zip(pieces, sizes, strict=True)):
                queue.add(_Part(request.run, inputs, rows, request.deadline_s, call, index))
            if queue not in self._waiting:
                self._waiting.append(queue)
            self._changed.notify()
        return call

    def close(self) -> None:
        """Run what is waiting, then end the threads; later requests are refused."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (batch := self._next_batch()) is not None:
            _run_batch(batch, self.parameters)
            del batch  # the next may be long in coming; until then nothing may keep the model alive

    def _next_batch(self) -> "list[_Part] | None":
        with self._changed:
            while True:
                now_s = time.monotonic()
                for _ in range(len(self._waiting)):
                    queue = self._waiting.popleft()
                    batch = queue.take(now_s, is_closing=self._closing)
                    if not queue.is_empty:
                        self._waiting.append(queue)
                    if batch is not None:
                        self._changed.notify()  # there may be work for another thread
                        return batch
                if self._closing:
                    return None
                wait_s = min((queue.due_s - now_s for queue in self._waiting), default=threading.TIMEOUT_MAX)
                self._changed.wait(min(wait_s, threading.TIMEOUT_MAX))


class _Call:
    """A request under way: its parts report here, its caller waits here."""

    def __init__(self, num_parts: int):
        self._outputs: list[Tensors] = [{}] * num_parts
        self._error: ServingError | None = None
        self._num_left = num_parts
        self._lock, self._done = threading.Lock(), threading.Event()

    def finish(self, index: int, outputs: Tensors, error: ServingError | None) -> None:
        with self._lock:
            self._outputs[index] = outputs
            self._error = self._error or error
            self._num_left -= 1
            if not self._num_left:
                self._done.set()

    def wait(self) -> Tensors:
        self._done.wait()
        if self._error is not None:
            # One error is shared by many callers, but a traceback belongs to one of them.
            raise ServingError(str(self._error), status=self._error.status) from self._error
        return self._outputs[0] if len(self._outputs) == 1 else join_rows(self._outputs)


@dataclass(frozen=True)
class _Part:
    """Rows that run together: a whole request, or a piece of one."""

    run: Run
    inputs: Tensors
    rows: int
    deadline_s: float | None
    call: _Call = field(default_factory=lambda: _Call(1))
    index: int = 0


class _Queue:
    """Batches of one queue, oldest first; the last one is open, and there is always one."""

    def __init__(self, parameters: BatchingParameters):
        self._parameters = parameters
        self._batches: deque[list[_Part]] = deque([[]])
        self._opened_s = 0.0

    @property
    def is_empty(self) -> bool:
        return len(self._batches) == 1 and not self._batches[0]

    @property
    def due_s(self) -> float:
        """When the open batch may run although it is not full."""
        return self._opened_s + self._parameters.batch_timeout_micros / 1e6

    def plan(self, rows: int) -> list[int]:
        """Return the rows of the parts that a request must be cut into.

        Raises:
          ServingError: if the request is too large (INVALID_ARGUMENT) or the queue is full (UNAVAILABLE).
        """
        settings, open_rows = self._parameters, _rows(self._batches[-1])
        if rows > settings.max_batch_size:
            message = f"Task size {rows} is larger than maximum input batch size {settings.max_batch_size}"
            raise ServingError(message, status="INVALID_ARGUMENT")
        num_batches, limit = len(self._batches), settings.rows_of_a_run
        if not settings.enable_large_batch_splitting:
            if open_rows + rows > limit and num_batches >= settings.max_enqueued_batches:
                counts = f"currently {num_batches} batches enqueued and max_enqueued_batches is"
                raise ServingError(f"{_FULL}{counts} {settings.max_enqueued_batches}", status="UNAVAILABLE")
            return [rows]
        free = (settings.max_enqueued_batches - num_batches) * limit + limit - open_rows
        if rows > free:
            message = f"{_FULL}task size is {rows} but scheduling capacity is only {free}"
            raise ServingError(message, status="UNAVAILABLE")
        if rows <= limit - open_rows:
            return [rows]
        sizes = [limit - open_rows] if open_rows < limit else []
        while left := rows - sum(sizes):
            sizes.append(min(left, limit))
        return sizes

    def add(self, part: _Part) -> None:
        if _rows(self._batches[-1]) + part.rows > self._parameters.rows_of_a_run:
            self._batches.append([])
        if not self._batches[-1]:
            self._opened_s = time.monotonic()
        self._batches[-1].append(part)

    def take(self, now_s: float, *, is_closing: bool) -> list[_Part] | None:
        """Return the batch to run now, or None where the open one may still grow."""
        if len(self._batches) == 1:
            is_full = _rows(self._batches[0]) >= self._parameters.rows_of_a_run
            if not self._batches[0] or not (is_closing or is_full or now_s >= self.due_s):
                return None
            self._batches.append([])
        return self._batches.popleft()


def _rows(batch: list[_Part]) -> int:
    return sum(part.rows for part in batch)


def _run_batch(batch: list[_Part], parameters: BatchingParameters) -> None:
    results: list[dict[str, tf.Tensor]] = [{} for _ in batch]
    error: ServingError | None = None
    try:
        results = _run_merged(batch, parameters)
    except ServingError as refusal:
        error = refusal
    except Exception as fault:
        logger.exception("A batch failed")
        error = ServingError(f"{type(fault).__name__}: {fault}", status="INTERNAL")
    for part, outputs in zip(batch, results, strict=True):
        part.call.finish(part.index, outputs, error)


def _run_merged(batch: list[_Part], parameters: BatchingParameters) -> list[dict[str, tf.Tensor]]:
    now_s = time.monotonic()
    if all(part.deadline_s is not None and part.deadline_s <= now_s for part in batch):
        raise ServingError("Run() timeout exceeded while waiting in batching queue", status="RESOURCE_EXHAUSTED")
    rows = _rows(batch)
    padding_rows = parameters.rows_with_padding(rows) - rows if rows else 0
    merged = merge_rows(
        [part.inputs for part in batch],
        padding_rows=padding_rows,
        pad_shapes=parameters.pad_variable_length_inputs,
    )
    return split_rows(batch[0].run(merged), [part.rows for part in batch], padding_rows=padding_rows)
