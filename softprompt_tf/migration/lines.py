"""The unlabelled lines of a migration: read, each once, and split into those to train on and those to compare on."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.tasks import read_rows
from softprompt_tf.tasks.template import field_text

FIELD = "text"
FEWEST = 10

TaskLines = Mapping[str, Sequence[str]]
"""Task id -> its lines; the id "" stands for all tasks that are not named."""


@dataclass(frozen=True)
class SplitLines:
    """Lines of one task: to train on, to choose the best step, and to report the agreement."""

    train: tuple[str, ...]
    dev: tuple[str, ...]
    held_out: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Hexadecimal digits that differ for other lines."""
        content = json.dumps([self.train, self.dev, self.held_out])
        return hashlib.sha256(content.encode("utf-8")).hexdigest()[:16]


def read_lines(files: Iterable[str | Path]) -> list[str]:
    """Return the texts of files: the lines of a `.txt` file, or the field `text` of other rows.

    Raises:
      DataError: if a file cannot be read, is empty, or has no such field.
    """
    return [field_text(row, FIELD) for file in files for row in read_rows(file)]


def lines_of(task_ids: Sequence[str], lines: TaskLines) -> dict[str, Sequence[str]]:
    """Return task id -> its own lines, or those for all tasks.

    Raises:
      ConfigError: if lines are no list of texts, are for a task that is not there, or a task has none.
    """
    lines = {task: _listed(each) for task, each in lines.items()}
    unknown = sorted(set(lines) - {"", *task_ids})
    if unknown:
        raise ConfigError(
            f"Lines must be for a task of the export. Received: {', '.join(unknown)}. Known: {', '.join(task_ids)}."
        )
    without = [task for task in task_ids if task not in lines and "" not in lines]
    if without:
        raise ConfigError(
            f"Every task needs text. Received: none for {', '.join(without)}. Give some for all tasks, or choose tasks."
        )
    return {task: lines[task] if task in lines else lines[""] for task in task_ids}


def split_lines(lines: Sequence[str], *, held_out: float, seed: int, task_id: str) -> SplitLines:
    """Return the different lines of a task in three parts, drawn by a seed.

    Raises:
      DataError: if there are fewer than 10 different ones.
    """
    different = list(dict.fromkeys(lines))
    if len(different) < FEWEST:
        raise DataError(
            f"A migration needs at least {FEWEST} different lines of text. Received: {len(different)} for task {task_id!r}."
        )
    order = np.random.Generator(np.random.Philox(seed)).permutation(len(different))
    count = min(max(2, round(held_out * len(different))), len(different) - 1)
    drawn = tuple(different[place] for place in order)
    return SplitLines(drawn[count:], drawn[: count // 2], drawn[count // 2 : count])


def _listed(lines: object) -> list[str]:
    """Return texts as a list; an iterator is read once."""
    listed = [] if isinstance(lines, str | bytes) or not isinstance(lines, Iterable) else list(lines)
    if not listed or not all(isinstance(line, str) for line in listed):
        raise ConfigError(
            f"Lines must be a list of texts. Received: {listed or lines!r:.60}. Read a file with `read_lines`."
        )
    return listed
