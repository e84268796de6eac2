"""How long a section may still run, and which of its cases fit."""

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.speed.protocol import ROOT


@dataclass
class Budget:
    """Seconds that may be spent, counted from when the object is made."""

    seconds: float
    clock: Callable[[], float] = time.monotonic
    start: float = field(init=False)

    def __post_init__(self) -> None:
        self.start = self.clock()

    @property
    def left(self) -> float:
        """The seconds that are left; negative once the budget is overspent."""
        return self.start + self.seconds - self.clock()

    def fits(self, expected_s: float) -> bool:
        """Say whether something of so many seconds can still be done."""
        return expected_s <= self.left


@dataclass(frozen=True)
class Job:
    """A command whose output goes to a log file."""

    name: str
    command: Sequence[str]
    log: Path


def run_jobs(
    jobs: Sequence[Job], budget: Budget, *, at_once: int, ended: Callable[[Job, int | None], None], pause_s: float = 0.1
) -> None:
    """Run commands, some at once, in their order; call `ended` for each with its status, None if it ran out of time."""
    waiting, running = list(jobs), dict[str, tuple[Job, subprocess.Popen[bytes]]]()
    while waiting or running:
        while waiting and len(running) < at_once and budget.left > 0:
            job = waiting.pop(0)
            with job.log.open("wb") as log:
                process = subprocess.Popen(job.command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
            running[job.name] = job, process
        if budget.left <= 0:
            for _, process in running.values():
                process.kill()
            for job in [*(job for job, _ in running.values()), *waiting]:
                ended(job, None)
            return
        for job, process in list(running.values()):
            if process.poll() is not None:
                del running[job.name]
                ended(job, process.returncode)
        time.sleep(pause_s)


def default_at_once() -> int:
    """Return how many programs that mostly compile may run at once."""
    return max(1, (os.cpu_count() or 1) // 2)
