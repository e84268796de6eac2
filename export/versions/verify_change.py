"""Check that the tasks of two versions of an export answer the same in both.

Both run through TensorFlow's C API in processes of their own. Neither the T5 nor Keras is there; as graph and weights are the
first version's, that has been compared with Keras when it was written.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from softprompt_tf.errors import VerificationError
from softprompt_tf.export.graph.served_tasks import ServedTask
from softprompt_tf.export.session.session_process import run_in_process
from softprompt_tf.inference.answers import NO_SCORE
from softprompt_tf.methods.task_tensors import LABEL_ROWS

TEXTS = (
    "A long walk by the river ended at a small café, where everybody was talking about the weather.",
    "Who wrote it?",
    "",
)
MAX_TASKS = 8

Answers = Mapping[str, np.ndarray]


def verify_change(before: Path, after: Path, *, kept: Sequence[str], added: Sequence[ServedTask]) -> None:
    """Check that a change of tasks changed these tasks alone.

    Args:
      before: the version that the other one was made from.
      after: the version that was made.
      kept: tasks of both; up to 8 of them, evenly spread, must answer bit for bit as before.
      added: tasks that are new, or other than before; up to 8 of them must answer every signature without a status.

    Raises:
      VerificationError: with the task, the signature and the output that differ.
    """
    kept, added = _spread(kept), _spread(added)
    new_requests = probe_requests([task.task_id for task in added]) if added else {}
    if kept:
        requests = probe_requests(kept)
        old_answers = run_in_process(before, list(requests.values()))
        answers = run_in_process(after, [*requests.values(), *new_requests.values()])
        for name, old, new in zip(requests, old_answers, answers, strict=False):
            _compare(name, kept, old, new)
        answers = answers[len(requests) :]
    else:
        answers = run_in_process(after, list(new_requests.values()))
    for name, answer in zip(new_requests, answers, strict=True):
        _check_statuses(name, added, answer)


def probe_requests(task_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return one request per signature: a few texts for each of these tasks, all in one batch."""
    texts = list(TEXTS) * len(task_ids)
    mixed = {"task_id": [task for task in task_ids for _ in TEXTS], "text": texts}
    return {
        "serving_default": {"signature": "serving_default", "inputs": mixed},
        "classify": {"signature": "classify", "inputs": mixed},
        "score": {"signature": "score", "inputs": {**mixed, "target": ["yes"] * len(texts)}},
    }


def _spread(tasks: Sequence[Any]) -> list[Any]:
    places = np.linspace(0, len(tasks) - 1, min(len(tasks), MAX_TASKS)).astype(int)
    return [tasks[place] for place in places]


def _compare(signature: str, task_ids: Sequence[str], before: Answers, after: Answers) -> None:
    for name, old in before.items():
        new = after[name]
        if old.ndim == 2:  # the columns of tasks with more labels may have come or gone
            old, new = _as_wide(old, new), _as_wide(new, old)
        for k, task in enumerate(task_ids):
            rows = slice(k * len(TEXTS), (k + 1) * len(TEXTS))
            if not np.array_equal(old[rows], new[rows]):
                raise VerificationError(
                    "A change of tasks must not change the others' answers. "
                    f"Received for task {task!r}, {signature}, {name}: {old[rows].tolist()} before, "
                    f"{new[rows].tolist()} after."
                )


def _as_wide(values: np.ndarray, other: np.ndarray) -> np.ndarray:
    missing = max(0, other.shape[1] - values.shape[1])
    fill: Any = b"" if values.dtype == object else NO_SCORE
    if values.dtype != object:  # graphs of earlier versions of this library fill up with -inf
        values = np.where(np.isneginf(values), values.dtype.type(NO_SCORE), values)
    return np.pad(values, [(0, 0), (0, missing)], constant_values=fill)


def _check_statuses(signature: str, tasks: Sequence[ServedTask], answer: Answers) -> None:
    for k, task in enumerate(tasks):
        if signature == "classify" and not task.labels:
            continue
        if signature == "score" and LABEL_ROWS in task.lengths:
            continue  # the target that is asked for is none of its labels
        for status in answer["status"][k * len(TEXTS) : (k + 1) * len(TEXTS)]:
            if status:
                raise VerificationError(
                    f"A task that is added must answer. Received for task {task.task_id!r}, {signature}: "
                    f"{status.decode(errors='replace')}"
                )
