"""Hold back what is written to the standard error's descriptor, by native code too, and lose none of it where it matters."""

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def held_errors() -> Iterator[None]:
    """Hold back, and at the end forget, what is written to the standard error's descriptor.

    It is written after all where an exception leaves (other than an interrupt), and where the process dies.
    """
    with contextlib.ExitStack() as stack:
        try:
            held = stack.enter_context(tempfile.TemporaryFile())
            shown = os.dup(2)
        except OSError:  # no room for a file, or no standard error
            held, shown = None, -1
        if held is None:
            yield
            return
        stack.callback(os.close, shown)
        _flush()
        guard = _start_guard(held.fileno(), shown)
        os.dup2(held.fileno(), 2)
        is_told = False
        try:
            yield
        except Exception:
            is_told = True
            raise
        finally:
            _flush()
            os.dup2(shown, 2)
            _end_guard(guard)
            if is_told:
                _write(held.fileno(), shown)


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()


def _write(held: int, shown: int) -> None:
    text = os.pread(held, os.fstat(held).st_size, 0)
    while text:
        text = text[os.write(shown, text) :]


def _start_guard(held: int, shown: int) -> tuple[int, int] | None:
    """Fork a process that writes what was held if this one dies; return its id, and the pipe by which it sees that."""
    if not hasattr(os, "fork"):
        return None
    watched, alive = os.pipe()
    guard = os.fork()
    if guard:
        os.close(watched)
        return guard, alive
    try:
        for number in (signal.SIGINT, signal.SIGTERM):  # which a group of processes gets together
            signal.signal(number, signal.SIG_IGN)
        os.close(alive)
        os.read(watched, 1)  # returns when this process's parent is no more
        _write(held, shown)
    finally:
        os._exit(0)


def _end_guard(guard: tuple[int, int] | None) -> None:
    if guard is not None:
        os.kill(guard[0], signal.SIGKILL)
        os.waitpid(guard[0], 0)
        os.close(guard[1])
