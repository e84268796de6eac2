"""Run the pipeline of a job over the chunks that are not finished, show how far it is, and stop it when asked to."""

import contextlib
import secrets
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import FrameType
from typing import Any

from softprompt_tf.errors import ConfigError, ServingError, SoftPromptError, first_line
from softprompt_tf.export.bulk.chunks import Chunk
from softprompt_tf.export.bulk.job import Job
from softprompt_tf.export.bulk.work_directory import WorkDirectory, not_overwritten
from softprompt_tf.export.bulk.worker_signals import WorkerSignals
from softprompt_tf.progress import Progress
from softprompt_tf.shown_numbers import counted

_POLL_S = 0.5
_STOP_S = 15.0  # longer than a run of the model takes


def run_job(job: Job, work: WorkDirectory, options: Any, *, force: bool) -> None:
    """Run the pipeline over what is not finished.

    Raises:
      ConfigError: if somebody else has written an output meanwhile.
      KeyboardInterrupt: if it was stopped.
      SoftPromptError: if it failed.
    """
    finished = work.finished()
    left = [chunk for chunk in job.chunks if chunk.number not in finished]
    if not left:
        return
    for path in (job.output, job.bad_output):
        if path.exists() and not force:
            raise ConfigError(not_overwritten(path))
    signals = WorkerSignals(str(work.path.absolute()), secrets.token_hex(4))
    with _progress(job, work), _stopped_by_interrupt(signals):
        try:
            _in_a_thread(partial(_run, job, left, signals, options), signals)
        except Exception as error:
            if signals.is_stopped():
                raise _interrupted(job, work) from error
            raise _reason(error, signals) from error
    left_rows = job.num_rows - _done_rows(job, work)
    if signals.is_stopped() and left_rows:
        raise _interrupted(job, work)
    if left_rows:
        raise ServingError(
            f"The runner must answer every row. Received: {counted(left_rows, 'row')} without an answer."
        )


def _interrupted(job: Job, work: WorkDirectory) -> KeyboardInterrupt:
    done = _done_rows(job, work)
    return KeyboardInterrupt(f"{done:,} of {job.num_rows:,} rows are answered. Run the same command again to go on.")


def _run(job: Job, chunks: Sequence[Chunk], signals: WorkerSignals, options: Any) -> None:
    from softprompt_tf.export.bulk.pipeline import run_pipeline

    run_pipeline(
        chunks,
        export=str(job.version.directory),
        tasks=job.tasks,
        writer=job.writer,
        signals=signals,
        options=options,
    )


def _in_a_thread(function: Callable[[], None], signals: WorkerSignals) -> None:
    """Call a function, and leave it behind where it does not end some time after the job was stopped.

    A terminal sends Ctrl-C to processes of workers too, and a runner whose workers are gone waits for ever.
    """
    errors: list[Exception] = []

    def call() -> None:
        try:
            function()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    waits = _STOP_S / _POLL_S
    while thread.is_alive() and waits > 0:
        thread.join(_POLL_S)
        waits -= signals.is_stopped()
    if errors:
        raise errors[0]


def _reason(error: Exception, signals: WorkerSignals) -> SoftPromptError:
    told = signals.failure()
    if told is not None:
        return told
    return ServingError(f"The pipeline failed. Received: {type(error).__name__}: {first_line(error)}")


def _done_rows(job: Job, work: WorkDirectory) -> int:
    finished = work.finished()
    return sum(chunk.num_rows for chunk in job.chunks if chunk.number in finished)


@contextlib.contextmanager
def _progress(job: Job, work: WorkDirectory) -> Iterator[None]:
    """Show how many rows are answered, by the parts that are there: workers may be anywhere."""
    is_done = threading.Event()
    with Progress(job.num_rows, unit="row", what="Answering", first=_done_rows(job, work)) as progress:

        def follow() -> None:
            while not is_done.wait(_POLL_S):
                progress.advance(_done_rows(job, work) - progress.done)

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_done.set()
            thread.join()
            progress.advance(_done_rows(job, work) - progress.done)


@contextlib.contextmanager
def _stopped_by_interrupt(signals: WorkerSignals) -> Iterator[None]:
    """Let the first Ctrl-C end the job after the batches that run; the second one ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT) or signal.SIG_DFL

    def stop(number: int, frame: FrameType | None) -> None:
        signals.stop()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
