"""A search on the tiny T5, whose clock goes on by steps and scored rows alone."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_run import mood_rows

from softprompt_tf.tasks import Task
from softprompt_tf.tuning import ladder, rungs, scoring, watch
from softprompt_tf.tuning.record import Record
from softprompt_tf.tuning.run_search import SearchSettings, run_search

STEP_S, ROW_S = 1.0, 2.0**-10  # exact in binary, so that sums are the same in any order
MINUTES = 1.75


class Killed(BaseException):
    """Stands for the end of the process."""


class FakeClock:
    """Seconds that pass at each step of a candidate and at each scored row; it can end the process at a step."""

    def __init__(self) -> None:
        self.now, self.steps, self.killed_at = 0.0, 0, 0
        self.end: type[BaseException] = Killed
        self.asked: list[str] = []

    def __call__(self) -> float:
        return self.now

    def step(self) -> None:
        self.steps += 1
        if self.steps == self.killed_at:
            raise self.end

    @contextlib.contextmanager
    def in_use(self) -> Iterator["FakeClock"]:
        """Let the steps and the scorings of searches move this clock."""
        after_step, look, train = watch.Watch.on_train_batch_end, scoring.Scorer.look, rungs.Search.train
        clock, keep_record = self, rungs.Search.keep_record

        def moved_by_step(self: Any, batch: int, logs: Any = None) -> None:
            clock.now += STEP_S * clock.candidates
            after_step(self, batch, logs)
            clock.step()

        def moved_by_rows(self: Any, model: Any, examples: Any, *, known: Any = None) -> Any:
            new = examples[len(known.answers) if known else 0 :]
            clock.asked += [example.inputs for example in new]
            clock.now += ROW_S * len(new)
            return look(self, model, examples, known=known)

        def counted(self: Any, key: str, what: str, candidates: Any, plan: Any) -> Any:
            clock.candidates = len(candidates)
            return train(self, key, what, candidates, plan)

        def kept_while_alive(self: Any) -> None:
            if clock.end is not Killed or not 0 < clock.killed_at <= clock.steps:
                keep_record(self)

        self.candidates = 1
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(watch.Watch, "on_train_batch_end", moved_by_step)
            patch.setattr(scoring.Scorer, "look", moved_by_rows)
            patch.setattr(rungs.Search, "train", counted)
            patch.setattr(rungs.Search, "keep_record", kept_while_alive)
            patch.setattr(rungs, "PILOT_STEPS", 1)
            patch.setattr(ladder, "LEAST_STEPS", 4)
            patch.setattr(ladder, "MOST_SCORINGS", 3)
            yield self


def mood_task(**changes: Any) -> Task:
    """A task of 24 rows, of which 8 choose and 4 test."""
    rows = mood_rows()
    splits = {"train": rows[:12], "validation": rows[12:20], "test": rows[20:]}
    labels = {"negative": "negative", "positive": "positive"}
    return Task("mood", "{text}", labels=labels, max_input_tokens=24, **{**splits, **changes})


def search(
    t5: Any, output: Path, clock: FakeClock, *, minutes: float = MINUTES, seed: int = 1, task: Any = None
) -> Record:
    """Search with a clock that begins at 0."""
    settings = SearchSettings("tiny", output, minutes, seed)
    with clock.in_use():
        return run_search(task or mood_task(), lambda precision: t5, settings, clock=clock, started=clock.now)
