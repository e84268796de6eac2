"""The old model's answers to the lines of a task, asked for once and kept in a file."""

import json
from pathlib import Path

import numpy as np

from softprompt_tf.errors import TrainingError
from softprompt_tf.export.graph.served_tasks import ServedTask
from softprompt_tf.files.atomic_file import write_atomically
from softprompt_tf.migration.answers import Answers
from softprompt_tf.migration.lines import SplitLines
from softprompt_tf.migration.teacher import Teacher

SplitAnswers = tuple[Answers, Answers, Answers]
"""To the lines to train on, to choose by, and held out."""


def asked_once(teacher: Teacher, task: ServedTask, split: SplitLines, path: Path) -> SplitAnswers:
    """Return the answers of a file, where it holds those to these lines; else ask, and write it."""
    answers = _read(path, split.digest)
    if answers is None:
        lines = [*split.train, *split.dev, *split.held_out]
        answers = teacher.ask(task, lines)
        values = {
            "lines": split.digest,
            "texts": answers.texts,
            "probabilities": None if answers.probabilities is None else answers.probabilities.tolist(),
        }
        write_atomically(path, json.dumps(values).encode("utf-8"), error_type=TrainingError)
    ends = np.cumsum([len(split.train), len(split.dev)])
    return _part(answers, 0, ends[0]), _part(answers, ends[0], ends[1]), _part(answers, ends[1], None)


def _read(path: Path, digest: str) -> Answers | None:
    try:
        values = json.loads(path.read_text("utf-8"))
        if values["lines"] != digest:
            return None
        shares = values["probabilities"]
        return Answers(tuple(values["texts"]), None if shares is None else np.array(shares, np.float64))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _part(answers: Answers, start: int, end: int | None) -> Answers:
    shares = answers.probabilities
    return Answers(answers.texts[start:end], None if shares is None else shares[start:end])
