"""`softprompt train CONFIG --workers N`: start N workers of a run on this machine, and end all of them when one ends early."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from softprompt_tf.errors import ConfigError
from softprompt_tf.workers.tf_config import VARIABLE

PROGRAM = (sys.executable, "-m", "softprompt_tf.cli.command")
LOST_STATUS = 75  # of a worker that ended because another one was lost: try again
STOP_WITHIN_S = 10.0
_LIFELINE = "SOFTPROMPT_LIFELINE"  # the end of a pipe that closes when the launcher ends
_LOOK_EVERY_S = 0.1
_SETTLE_S = 1.0  # in which workers that fail for the same reason end too


@dataclass
class _Worker:
    rank: int
    process: subprocess.Popen[bytes]
    errors: IO[bytes] | None  # what it says; the chief speaks for itself

    @property
    def name(self) -> str:
        return f"worker {self.rank}{' (the chief)' if self.rank == 0 else ''}"

    @property
    def status(self) -> int | None:
        return self.process.poll()


def launch(arguments: Sequence[str], count: int, *, program: Sequence[str] = PROGRAM) -> int:
    """Run a command as so many workers of one training on 127.0.0.1; return the exit status.

    Args:
      arguments: of `softprompt`.
      count: of workers.
      program: that takes the arguments.

    Raises:
      ConfigError: if that is no number above 0.
      KeyboardInterrupt: when it was interrupted and all workers have ended; the chief has saved a checkpoint.
    """
    if count < 1:
        raise ConfigError(f"`--workers` must be a whole number above 0. Received: {count}.")
    with _interrupted_by_terminate(), contextlib.ExitStack() as stack:
        workers = _started([*program, *arguments], count, stack)
        try:
            return _watched(workers)
        except KeyboardInterrupt:
            _send(workers[:1], signal.SIGINT)
            _wait(workers[:1], STOP_WITHIN_S)
            raise
        finally:
            _stop(workers)


def end_with_launcher() -> None:
    """In a worker: be interrupted when the launcher that started it has ended, in whatever way.

    A shell lets what it starts in the background ignore interrupts; the launcher's own come through all the same. By SIGTERM the
    launcher ends it at once.
    """
    descriptor = os.environ.get(_LIFELINE)
    if descriptor is not None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        threading.Thread(target=_interrupt_at_end_of, args=(int(descriptor),), daemon=True).start()


def is_launched() -> bool:
    """Return whether a launcher tells how this process ended."""
    return _LIFELINE in os.environ


def _interrupt_at_end_of(descriptor: int) -> None:
    while os.read(descriptor, 1):
        pass
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(STOP_WITHIN_S)
    os._exit(LOST_STATUS)


# === Starting ===


def _started(command: Sequence[str], count: int, stack: contextlib.ExitStack) -> list[_Worker]:
    addresses = _free_addresses(count)
    lifeline, held = os.pipe()
    stack.callback(os.close, held)
    workers = []
    for rank in range(count):
        errors = None if rank == 0 else tempfile.TemporaryFile()  # noqa: SIM115  until the end of the run
        if errors is not None:
            stack.callback(errors.close)
        process = subprocess.Popen(
            command,
            env={**os.environ, **_environment(rank, addresses), _LIFELINE: str(lifeline)},
            stdin=subprocess.DEVNULL,
            stdout=None if rank == 0 else subprocess.DEVNULL,
            stderr=errors,
            pass_fds=(lifeline,),
            start_new_session=True,  # Ctrl-C is for the launcher alone
        )
        workers.append(_Worker(rank, process, errors))
    os.close(lifeline)
    return workers


def _free_addresses(count: int) -> list[str]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]


def _environment(rank: int, addresses: Sequence[str]) -> dict[str, str]:
    """Return what a worker's environment has besides: its place, its share of the cores, its GPU where there are any."""
    task = {"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": rank}}
    threads = str(max(1, _cores() // len(addresses)))
    shared = {"TF_NUM_INTRAOP_THREADS": os.environ.get("TF_NUM_INTRAOP_THREADS", threads)}
    gpus = _gpus(os.environ)
    if gpus:
        shared |= {"CUDA_VISIBLE_DEVICES": gpus[rank % len(gpus)], "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    return {VARIABLE: json.dumps(task), **shared}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpus(environment: Mapping[str, str]) -> list[str]:
    if "CUDA_VISIBLE_DEVICES" in environment:
        return [each for each in environment["CUDA_VISIBLE_DEVICES"].split(",") if each not in ("", "-1")]
    return sorted(path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*"))


# === Watching ===


def _watched(workers: Sequence[_Worker]) -> int:
    """Return 0 when all workers are done; when one ends early, say so, and return its status."""
    while any(worker.status is None for worker in workers):
        if any(worker.status for worker in workers):
            _wait(workers, _SETTLE_S)
            break
        time.sleep(_LOOK_EVERY_S)
    if not any(worker.status for worker in workers):
        return 0
    first = _first_to_fail(workers)
    _tell(first)
    return _exit_status(first)


def _first_to_fail(workers: Sequence[_Worker]) -> _Worker:
    """Return the worker that is the reason: one with a mistake of its own, or one that does not take part any more."""
    failed = [worker for worker in workers if worker.status not in (None, 0, LOST_STATUS)]
    silent = [worker for worker in workers if worker.status is None]
    return (failed or silent or [worker for worker in workers if worker.status])[0]


def _exit_status(worker: _Worker) -> int:
    status = worker.status
    if status is None:
        return LOST_STATUS
    return status if status > 0 else 128 - status


def _tell(worker: _Worker) -> None:
    if worker.rank == 0 and worker.status in (1, 2, 130):
        return  # it has said why
    why = _last_words(worker)
    again = "All workers were ended; the same command goes on from the last checkpoint."
    print(f"softprompt: {worker.name} {_ending(worker.status)}. {again}{why}", file=sys.stderr, flush=True)


def _ending(status: int | None) -> str:
    if status is None or status == LOST_STATUS:
        return "does not take part any more"
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"


def _last_words(worker: _Worker) -> str:
    if worker.errors is None or worker.status is None or worker.status < 0:
        return ""
    worker.errors.seek(0)
    lines = worker.errors.read().decode(errors="replace").strip().splitlines()
    return f" It said: {lines[-1].removeprefix('softprompt: ')}" if lines else ""


# === Ending ===


def _stop(workers: Sequence[_Worker]) -> None:
    """End what still runs: those that have lost a worker end by themselves, the others are told to, then made to."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        _wait(workers, STOP_WITHIN_S / 2 if number is signal.SIGTERM and any(each.status for each in workers) else 1.0)
        _send(workers, number)
    for worker in workers:
        worker.process.wait()


def _send(workers: Sequence[_Worker], number: signal.Signals) -> None:
    for worker in workers:
        if worker.status is None:
            worker.process.send_signal(number)


def _wait(workers: Sequence[_Worker], limit_s: float) -> None:
    end = time.monotonic() + limit_s
    while time.monotonic() < end and any(worker.status is None for worker in workers):
        time.sleep(_LOOK_EVERY_S / 2)


@contextlib.contextmanager
def _interrupted_by_terminate() -> Iterator[None]:
    """Let SIGTERM end the launcher as Ctrl-C does."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
