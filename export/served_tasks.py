"""Task prompts and what is known of a backbone in, the tasks of a served model out: one row for each, and the prompts' rows.

Nothing here needs the backbone itself, so that a task can be added to an export without loading it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from softprompt_tf.errors import ExportError
from softprompt_tf.export.served_backbone import ServedBackbone
from softprompt_tf.export.served_prompts import ServedPrompt, load_served_prompts
from softprompt_tf.prompts import TaskPrompt, check_backbone
from softprompt_tf.tasks import Template, check_labels, ended_ids, warn_of_labels

if TYPE_CHECKING:
    from softprompt_tf.t5 import FrozenT5

DEFAULT_MAX_INPUT_TOKENS = 512
DEFAULT_MAX_TARGET_TOKENS = 32
MAX_SCORED_TOKENS = 256


@dataclass(frozen=True)
class ServedTask:
    """What the served model knows of one task beside the values of its prompt.

    Args:
      task_id: the name that a request asks for.
      prompt_length: P.
      num_members: N prompts that vote; 1 for a task that is no ensemble.
      text_before, text_after: what the template puts around a request's text.
      labels: C label words; none for a task that only generates.
      label_ids: the labels' tokens, opened and ended as the decoder writes them.
      opening_id: what stands in front of the task's targets: a sentinel, or 0 for nothing.
      max_input_tokens: where inputs are cut.
      max_target_tokens: where decoding stops, the opening id included.
    """

    task_id: str
    prompt_length: int
    text_before: str
    text_after: str
    labels: tuple[str, ...]
    label_ids: tuple[tuple[int, ...], ...]
    opening_id: int
    max_input_tokens: int
    max_target_tokens: int
    num_members: int = 1

    @property
    def num_rows(self) -> int:
        """Rows of the prompt table that are the task's: N * P, one member behind the other."""
        return self.num_members * self.prompt_length


@dataclass(frozen=True)
class ServedTasks:
    """K tasks and their prompts.

    Args:
      rows: K tasks, in the order in which the tables hold them.
      prompts: float32 [R, H], the rows of all prompts, one prompt behind the other; R is the sum of the tasks' rows.
    """

    rows: tuple[ServedTask, ...]
    prompts: np.ndarray

    @property
    def task_ids(self) -> tuple[str, ...]:
        """K names."""
        return tuple(task.task_id for task in self.rows)

    @property
    def opening_ids(self) -> np.ndarray:
        """int32 [K], see `ServedTask`."""
        return np.array([task.opening_id for task in self.rows], np.int32)

    @property
    def max_target_tokens(self) -> np.ndarray:
        """int32 [K], see `ServedTask`."""
        return np.array([task.max_target_tokens for task in self.rows], np.int32)

    @property
    def label_ids(self) -> tuple[np.ndarray, ...]:
        """K arrays int32 [C, U], 0 where padded: C is the task's own, U the length of the longest label of all tasks."""
        return padded_label_ids(self.rows)


def build_served_tasks(t5: "FrozenT5", prompts: Mapping[str, ServedPrompt]) -> ServedTasks:
    """Lay out task id -> prompt for this T5; see `serve_tasks`."""
    return serve_tasks(ServedBackbone.of(t5), prompts)


def serve_tasks(backbone: ServedBackbone, prompts: Mapping[str, ServedPrompt]) -> ServedTasks:
    """Lay out task id -> prompt, or the prompts that vote.

    Raises:
      ExportError: if there is no task, a task id is empty, the prompts of an ensemble do not fit together, or two labels of
        a task are the same to the model.
      BackboneMismatchError: if a prompt was made for another backbone.
      BackboneError: if a task's targets open with a sentinel that the backbone does not have.
    """
    if not prompts or not all(prompts):
        raise ExportError(f"An export needs at least one task, each with a name. Received: {list(prompts)}.")
    loaded = load_served_prompts(prompts)
    members = [member for each in loaded.values() for member in each]
    for member in members:
        check_backbone(
            member,
            backbone=backbone.name,
            fingerprint=backbone.fingerprint,
            hidden_dim=backbone.hidden_dim,
            tokenizer_fingerprint=backbone.tokenizer_fingerprint,
        )
    rows = tuple(_row(backbone, task_id, each) for task_id, each in loaded.items())
    return ServedTasks(rows, np.concatenate([member.prompt for member in members]))


def without_tasks(hidden_dim: int) -> ServedTasks:
    """Return no tasks at all: what the graph of an export is traced with, as it does not depend on them."""
    return ServedTasks((), np.zeros((0, hidden_dim), np.float32))


def affixes_of(prompt: TaskPrompt) -> tuple[str, str]:
    """Return what the served model puts before and after a request's text.

    A template of one field is applied by the server. One of several fields cannot be, as a request has one text: there the
    request's text is the whole rendered input.
    """
    if not prompt.template:
        return "", ""
    return Template(prompt.template, "{target}").affixes() or ("", "")


def padded_label_ids(rows: Sequence[ServedTask]) -> tuple[np.ndarray, ...]:
    """Return each task's labels as int32 [C, U], 0 where padded, with one U for all."""
    longest = max((len(ids) for task in rows for ids in task.label_ids), default=1)
    return tuple(
        np.array([[*ids, *[0] * (longest - len(ids))] for ids in task.label_ids], np.int32).reshape(-1, longest)
        for task in rows
    )


def _row(backbone: ServedBackbone, task_id: str, members: Sequence[TaskPrompt]) -> ServedTask:
    prompt = members[0]  # the others differ in their values alone
    before, after = affixes_of(prompt)
    opening_id = backbone.opening_id(prompt.target_format)
    limit = prompt.max_target_tokens or DEFAULT_MAX_TARGET_TOKENS
    labels = check_labels(
        prompt.labels,
        backbone.tokenize,
        max_target_tokens=limit,
        error_type=ExportError,
        subject=f"the labels of task {task_id!r}",
    )
    warn_of_labels(labels, backbone.tokenize, max_target_tokens=limit)
    pieces = backbone.tokenize(list(labels))
    return ServedTask(
        task_id=task_id,
        prompt_length=prompt.length,
        text_before=before,
        text_after=after,
        labels=prompt.labels,
        label_ids=tuple(tuple(ended_ids(ids, limit, opening_id=opening_id)) for ids in pieces),
        opening_id=opening_id,
        max_input_tokens=prompt.max_input_tokens or DEFAULT_MAX_INPUT_TOKENS,
        max_target_tokens=limit + int(opening_id > 0),
        num_members=len(members),
    )
