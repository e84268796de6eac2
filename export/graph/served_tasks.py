"""What a served model knows of its tasks: one record per task, and the rows of its tensors.

Nothing here needs the backbone itself, so that a task can be added to an export without loading it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from softprompt_tf.errors import ExportError
from softprompt_tf.export.graph.served_backbone import ServedBackbone
from softprompt_tf.export.graph.served_prompts import ServedPrompt, load_served_prompts
from softprompt_tf.methods import TaskPrompt, check_backbone
from softprompt_tf.methods.files.field_checks import LARGEST_COUNT
from softprompt_tf.methods.task_tensors import LABEL_ROWS, PROMPT
from softprompt_tf.tasks import Template, check_labels, ended_ids, warn_of_labels

if TYPE_CHECKING:
    from softprompt_tf.backbones import FrozenT5

DEFAULT_MAX_INPUT_TOKENS = 512
DEFAULT_MAX_TARGET_TOKENS = 32
MAX_SCORED_TOKENS = 256


@dataclass(frozen=True)
class ServedTask:
    """What the served model knows of one task beside the values of its tensors.

    Args:
      task_id: the name that a request asks for.
      lengths: name of each tensor that the task has -> P, its rows.
      num_members: N prompts that vote; 1 for a task that is no ensemble.
      method: how it was trained; an export of prompts alone does not keep it.
      text_before, text_after: what the template puts around a request's text.
      labels: C label words; none for a task that only generates.
      label_ids: the labels' tokens, opened and ended as the decoder writes them.
      opening_id: what stands in front of the task's targets: a sentinel, or 0 for nothing.
      max_input_tokens: where inputs are cut.
      max_target_tokens: where decoding stops, the opening id included.
    """

    task_id: str
    lengths: Mapping[str, int]
    text_before: str
    text_after: str
    labels: tuple[str, ...]
    label_ids: tuple[tuple[int, ...], ...]
    opening_id: int
    max_input_tokens: int
    max_target_tokens: int
    num_members: int = 1
    method: str = "prompt_tuning"

    @property
    def prompt_length(self) -> int:
        """P of the prompt, or of the first other tensor where there is no prompt."""
        return self.lengths.get(PROMPT, next(iter(self.lengths.values())))

    def num_rows(self, name: str) -> int:
        """Return how many rows of the table of tensor `name` are the task's: N * P, one member behind the other."""
        return self.num_members * self.lengths.get(name, 0)


@dataclass(frozen=True)
class ServedTasks:
    """K tasks and their tensors.

    Args:
      rows: K tasks, in the order in which the tables hold them.
      tensors: name -> float32 [R, W], the rows of all tasks' tensors of that name, one task behind the other; R is the sum of
        the tasks' rows, W the values of a row. "prompt" is always there.
    """

    rows: tuple[ServedTask, ...]
    tensors: Mapping[str, np.ndarray]

    @property
    def prompts(self) -> np.ndarray:
        """float32 [R, H], the rows of all prompts."""
        return self.tensors[PROMPT]

    def of_tasks(self, name: str) -> dict[str, np.ndarray]:
        """Return task id -> its rows float32 [N * P, W] of tensor `name`, for the tasks that have one."""
        return rows_of_tasks(self.rows, name, self.tensors[name]) if name in self.tensors else {}

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
            sizes=backbone.sizes,
        )
    rows = tuple(_row(backbone, task_id, each) for task_id, each in loaded.items())
    tables: dict[str, list[np.ndarray]] = {PROMPT: [np.zeros((0, backbone.hidden_dim), np.float32)]}
    for member in members:
        for name, value in member.tensors.items():
            tables.setdefault(name, []).append(value.reshape(len(value), -1))  # [P, W]
    return ServedTasks(rows, {name: np.concatenate(values) for name, values in tables.items()})


def without_tasks(hidden_dim: int) -> ServedTasks:
    """Return no tasks at all: what the graph of an export is traced with, as it does not depend on them."""
    return ServedTasks((), {PROMPT: np.zeros((0, hidden_dim), np.float32)})


def rows_of_tasks(rows: Sequence[ServedTask], name: str, table: np.ndarray) -> dict[str, np.ndarray]:
    """Part a table [R, W] of tensor `name`: task id -> its rows [N * P, W], for the tasks that have one."""
    having = [task for task in rows if task.num_rows(name)]
    ends = np.cumsum([task.num_rows(name) for task in having], dtype=int)
    parts = np.split(table, ends[:-1])
    return {task.task_id: part for task, part in zip(having, parts, strict=False)}


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
    if LABEL_ROWS not in prompt.tensors:  # else their words are not scored
        warn_of_labels(labels, backbone.tokenize, max_target_tokens=limit)
    pieces = backbone.tokenize(list(labels))
    return ServedTask(
        task_id=task_id,
        lengths={name: len(value) for name, value in prompt.tensors.items()},
        text_before=before,
        text_after=after,
        labels=prompt.labels,
        label_ids=tuple(tuple(ended_ids(ids, limit, opening_id=opening_id)) for ids in pieces),
        opening_id=opening_id,
        max_input_tokens=prompt.max_input_tokens or DEFAULT_MAX_INPUT_TOKENS,
        max_target_tokens=min(limit + int(opening_id > 0), LARGEST_COUNT),
        num_members=len(members),
        method=prompt.method,
    )
