"""Show how far a job is: a bar with rate and time left on a terminal, a plain line now and then in a log.

Lines that are printed while a bar is shown go through `say`, which keeps them apart from the bar.
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, Self, TextIO, TypeVar

import tqdm

LINE_EVERY_S = 30.0

Item = TypeVar("Item")
_shown_bars: set[tqdm.tqdm] = set()


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a person reads the stream as it is written; a closed one is none."""
    return stream is not None and not stream.closed and stream.isatty()


def say(line: str, *, stream: TextIO | None = None) -> None:
    """Print a line above the bars that are shown, if any, and below what was printed before it.

    Args:
      line: without its end.
      stream: default the standard error stream; nothing is printed where there is none.
    """
    stream = sys.stderr if stream is None else stream
    if stream is not None:
        _flush_standard_output()  # which may go to the same file
        with tqdm.tqdm.external_write_mode(file=stream) if _shown_bars else contextlib.nullcontext():
            print(line, file=stream, flush=True)


def _flush_standard_output() -> None:
    # It may be closed, or nobody reads it: the command's end looks at that.
    with contextlib.suppress(ValueError, OSError):
        if sys.stdout is not None:
            sys.stdout.flush()


def time_left(done: int, total: int | None, *, first: int, seconds: float) -> str:
    """Return such as "01:20", or "?" where nobody can know.

    Args:
      done: how many are done.
      total: how many there are.
      first: how many were done before the clock started.
      seconds: since then.
    """
    if total is None or done <= first:
        return "?"
    return str(tqdm.tqdm.format_interval(seconds / (done - first) * max(0, total - done)))


def counted(items: Sequence[Item], *, unit: str, what: str) -> Iterator[Item]:
    """Yield items, and show how many are done."""
    with Progress(len(items), unit=unit, what=what) as progress:
        for item in items:
            yield item
            progress.advance()


class Progress:
    """Counts what is done of a job; use it in a `with` statement.

    Args:
      total: how many there are; None where nobody knows.
      unit: what is counted, such as "step".
      what: the job, such as "Encoding".
      first: how many were done before.
      stream: default the standard error stream.
      line_every_s: seconds between two lines where it is no terminal; None writes no lines. A job that is done within the
        first of them writes none.
      has_rate: whether each takes about the same time, so that a rate and the time left mean something.

    Example:
      with Progress(len(texts), unit="text", what="Encoding") as progress:
          for text in texts:
              progress.advance(loss=encode(text))
    """

    def __init__(
        self,
        total: int | None,
        *,
        unit: str,
        what: str = "",
        first: int = 0,
        stream: TextIO | None = None,
        line_every_s: float | None = LINE_EVERY_S,
        has_rate: bool = True,
    ):
        self.done = first
        self._total, self._unit, self._what, self._first = total, unit, what, first
        self._stream = sys.stderr if stream is None else stream
        self._line_every_s, self._has_rate, self._started = line_every_s, has_rate, time.monotonic()
        self._last_line = self._started
        self._shown: dict[str, str] = {}
        self._bar: tqdm.tqdm | None = None
        if is_terminal(self._stream):
            # leave=None: a bar below another one goes away at its end.
            options = {"file": self._stream, "leave": None, **_size_options(self._stream)}
            options |= {} if has_rate else {"bar_format": "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}]"}
            self._bar = tqdm.tqdm(total=total, initial=first, desc=what or None, unit=unit, **options)
            _shown_bars.add(self._bar)

    def advance(self, count: int = 1, **shown: float | str) -> None:
        """Count what was done.

        Args:
          count: how many more.
          shown: values to show from now on, such as `loss=1.2`.
        """
        self.done += count
        self.show(**shown)
        if self._bar is not None:
            self._bar.update(count)
        elif self._is_line_due():
            self._write_line()

    def show(self, **shown: float | str) -> None:
        """Show values from now on, with the next change of the count."""
        self._shown |= {name: value if isinstance(value, str) else f"{value:.4g}" for name, value in shown.items()}
        if self._bar is not None and shown:
            self._bar.set_postfix(self._shown, refresh=False)

    def stage(self, what: str) -> None:
        """Say at once what is being done from now on."""
        self._what = what
        if self._bar is not None:
            self._bar.set_description(what)

    def close(self) -> None:
        """End the bar; also after an error."""
        if self._bar is not None:
            self._bar.close()
            _shown_bars.discard(self._bar)
            self._bar = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _is_line_due(self) -> bool:
        wait_s = self._line_every_s
        return wait_s is not None and time.monotonic() - self._last_line >= wait_s

    def _write_line(self) -> None:
        self._last_line = time.monotonic()
        seconds = self._last_line - self._started
        of = "" if self._total is None else f"/{self._total:,}"
        left = time_left(self.done, self._total, first=self._first, seconds=seconds)
        rate = f"{(self.done - self._first) / max(seconds, 1e-9):.3g} {self._unit}s/s"
        values = [f"{name} {value}" for name, value in self._shown.items()]
        words = [f"{self.done:,}{of} {self._unit}s", *([rate, f"{left} left"] if self._has_rate else []), *values]
        say(f"{self._what}: {', '.join(words)}" if self._what else ", ".join(words), stream=self._stream)


def _size_options(stream: TextIO) -> dict[str, Any]:
    """Follow the terminal's size; take a usual one where it does not know its own, in which no bar would be drawn."""
    try:
        columns, lines = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        columns = lines = 0
    return {"dynamic_ncols": True} if columns and lines else {"ncols": 100, "nrows": 24}
