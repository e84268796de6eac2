"""The wall clock of a search: what is spent, also by processes before this one, and what is left."""

import os
import time
from collections.abc import Callable
from pathlib import Path

Clock = Callable[[], float]


def process_started() -> float:
    """Return the reading of `time.monotonic` at which this process began; on other systems than Linux, the one of now."""
    now = time.monotonic()
    try:
        ticks = int(Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])
        since_boot = time.clock_gettime(time.CLOCK_BOOTTIME)
        return now - max(0.0, since_boot - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError, AttributeError):
        return now


class Budget:
    """Seconds to spend.

    Args:
      total_s: all of them.
      spent_s: by earlier processes of the same search.
      started: the clock's reading when this process began; default now.
      clock: of seconds.
    """

    def __init__(
        self, total_s: float, *, spent_s: float = 0.0, started: float | None = None, clock: Clock = time.monotonic
    ):
        self.total_s = total_s
        self._clock = clock
        self._zero = (clock() if started is None else started) - spent_s

    @property
    def spent_s(self) -> float:
        """All seconds that were spent."""
        return self._clock() - self._zero

    @property
    def left_s(self) -> float:
        """What is left; below 0 where too much was spent."""
        return self.total_s - self.spent_s

    def add(self, spent_s: float) -> None:
        """Count what earlier processes have spent."""
        self._zero -= spent_s
