"""The rows of a search: those to train on, those that candidates are chosen by, and those for the last word.

A task without a test split gets one: rows are held out that neither train nor choose. Rows of one text, or of one group, are never
on two sides of such a cut.
"""

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.shown_numbers import counted
from softprompt_tf.tasks import Example, Task, sample, tell_of_lacking_rows, tell_of_shared_texts

MOST_TRAIN_ROWS = 50_000
MOST_HELD_OUT = 1_000
LEAST_DEV_ROWS = 100  # of which half may be held out for the test
_SHARE_OF_TRAIN = 0.2
_SHARE_OF_DEV = 0.5
_FEW = 30  # rows, with which a figure is a rough one


@dataclass(frozen=True)
class TuneRows:
    """A task with its rows.

    Args:
      task: the task.
      train: rows to train on.
      dev: rows that candidates are chosen by.
      test: rows that nobody chooses by.
      notes: what was decided on the user's behalf, a sentence each.
    """

    task: Task
    train: list[Example]
    dev: list[Example]
    test: list[Example]
    notes: tuple[str, ...] = ()


def read_rows_of(task: Task) -> dict[str, list[Example]]:
    """Return split -> rows of the splits that a task has.

    Raises:
      ConfigError: if it has no train split.
      DataError: if the train or the dev split cannot be read.

    Warns:
      UserWarning: if the test split cannot be read, as public ones often have no labels.
    """
    if task.train is None:
        raise ConfigError(f"A search for a prompt needs a train split. Received: task {task.name!r} without train.")
    rows = {"train": task.examples("train")}
    if task.validation is not None:
        rows["validation"] = task.examples("validation")
    if task.test is not None:
        try:
            rows["test"] = task.examples("test")
        except (ConfigError, DataError) as error:
            warnings.warn(f"The test rows of task {task.name} are left out: {error}", stacklevel=2)
    return rows


def divided(task: Task, rows: dict[str, list[Example]], *, seed: int) -> TuneRows:
    """Return the rows by their use; what is missing is held out.

    Args:
      task: the task.
      rows: split -> rows, as they were read.
      seed: of the draws.

    Raises:
      DataError: if there are too few rows for three uses.
    """
    train, dev, test = list(rows["train"]), list(rows.get("validation", ())), list(rows.get("test", ()))
    notes: list[str] = []

    given = {example.inputs for example in (*dev, *test)}

    def cut(source: list[Example], share: float, of: str, use: str) -> tuple[list[Example], list[Example]]:
        count = min(MOST_HELD_OUT, max(1, round(share * len(source))))
        kept, held = hold_out(source, count, seed=seed, apart_from=given if of == "train" else ())
        if not kept or not held:
            raise DataError(
                f"A search needs rows to train on, to choose by and to test on, with different texts. Received: "
                f"{counted(len(source), f'{of} row')} of task {task.name}, of which none can be held out for the {use}. "
                "Give more rows."
            )
        notes.append(
            f"{len(held):,} of {len(source):,} {of} rows are held out for the {use} (drawn with seed {seed}); "
            f"the task has no {use} rows."
        )
        return kept, held

    if not test and len(dev) >= LEAST_DEV_ROWS:
        dev, test = cut(dev, _SHARE_OF_DEV, "dev", "test")
    elif not test:
        train, test = cut(train, _SHARE_OF_TRAIN, "train", "test")
    if not dev:
        train, dev = cut(train, _SHARE_OF_TRAIN, "train", "dev")
    notes += tell_of_lacking_rows(task, {"train": train, "dev": dev, "test": test})
    notes += tell_of_shared_texts(train, {"dev": dev, "test": test})
    if len(train) > MOST_TRAIN_ROWS:
        notes.append(f"{MOST_TRAIN_ROWS:,} of {len(train):,} train rows are used (drawn with seed {seed}).")
        train = sample(train, MOST_TRAIN_ROWS, seed=seed)
    if min(len(dev), len(test)) < _FEW:
        notes.append(
            f"Scores are rough: there are only {len(dev)} dev and {len(test)} test rows; with {_FEW} rows, one is 3 points."
        )
    return TuneRows(task, train, dev, test, tuple(notes))


def hold_out(
    examples: Sequence[Example], count: int, *, seed: int, apart_from: Collection[str] = ()
) -> tuple[list[Example], list[Example]]:
    """Return (kept, held out), both in their own order; groups of rows, and rows of one text, stay together.

    Args:
      examples: the rows.
      count: how many are held out at least.
      seed: of the draw.
      apart_from: texts that other rows have; rows of these, and what stays together with them, are kept.
    """
    members = [each for each in _bound(examples) if not any(examples[number].inputs in apart_from for number in each)]
    held: set[int] = set()
    for index in np.random.default_rng(seed).permutation(len(members)):
        if len(held) >= count:
            break
        held.update(members[index])
    kept = [example for number, example in enumerate(examples) if number not in held]
    return kept, [examples[number] for number in sorted(held)]


def _bound(examples: Sequence[Example]) -> list[list[int]]:
    """Return the numbers of rows that stay together: those of one group or of one text, and what these are bound to."""
    bound_to = list(range(len(examples)))  # a row -> an earlier one of its own, or itself

    def first_of(number: int) -> int:
        while bound_to[number] != number:
            bound_to[number] = number = bound_to[bound_to[number]]
        return number

    known: dict[object, int] = {}
    for number, example in enumerate(examples):
        for key in (example.inputs, example.group) if example.group else (example.inputs,):
            one, other = first_of(known.setdefault(key, number)), first_of(number)
            bound_to[max(one, other)] = min(one, other)
    members: dict[int, list[int]] = {}
    for number in range(len(examples)):
        members.setdefault(first_of(number), []).append(number)
    return list(members.values())
