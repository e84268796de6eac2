"""Load what a user names as a task's prompt: one prompt, or several that vote."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from softprompt_tf.errors import ExportError, PromptError
from softprompt_tf.methods import TaskPrompt, check_members, load_prompt, with_weight


@runtime_checkable
class PromptSource(Protocol):
    """A model that holds prompts: `PromptedT5`, which is not imported here, as tasks can be added without Keras."""

    def task_prompt(self, task_id: str, **fields: Any) -> TaskPrompt:
        """Return one task's prompt with all that a file keeps of it."""


OnePrompt = str | Path | TaskPrompt | PromptSource | np.ndarray
ServedPrompt = OnePrompt | Sequence[OnePrompt]
"""A prompt file (`.safetensors`, `.npy`, a PEFT folder), a loaded prompt, a `PromptedT5` or an array [P, H]; or several of one
task, which vote."""

_FORMS = "a prompt file, a loaded prompt, a PromptedT5, an array [P, H], or a list of these, which vote"


def load_served_prompts(prompts: Mapping[str, ServedPrompt]) -> dict[str, tuple[TaskPrompt, ...]]:
    """Load each task's prompts.

    Returns:
      Task id -> one prompt, or the members of its ensemble.

    Raises:
      ExportError: if this is no mapping of task ids, a task has no prompt, or its prompts cannot vote together.
      PromptFileError: if a prompt cannot be read.
      PromptError: if an array is no prompt.
    """
    if not isinstance(prompts, Mapping):
        raise ExportError(
            f"`prompts` must map task ids to prompts. Received: {type(prompts).__name__}. Pass {{'my_task': prompt}}."
        )
    wrong = [name for name in prompts if not isinstance(name, str)]
    if wrong:
        raise ExportError(f"A task id must be a string. Received: {wrong[0]!r}.")
    for name in prompts:
        _check_unicode(name)
    return {task_id: members_of(task_id, prompt) for task_id, prompt in prompts.items()}


def _check_unicode(task_id: str) -> None:
    try:
        task_id.encode()
    except UnicodeEncodeError as error:
        raise ExportError(f"A task id must be valid Unicode. Received: {task_id!r:.200}.") from error


def members_of(task_id: str, prompt: ServedPrompt) -> tuple[TaskPrompt, ...]:
    """Load one task's prompts; see `load_served_prompts`."""
    each = prompt if isinstance(prompt, list | tuple) else [prompt]
    members = tuple(_loaded(task_id, member) for member in each)
    if not members:
        raise ExportError(f"A task needs a prompt, or several that vote. Received: none for task {task_id!r}.")
    if len(members) > 1:
        try:
            check_members(members)
        except PromptError as error:
            raise ExportError(f"Task {task_id!r}: {error}") from error
        return members
    return (with_weight(members[0], None),)  # a weight counts among several prompts alone


def _loaded(task_id: str, prompt: Any) -> TaskPrompt:
    if isinstance(prompt, TaskPrompt):
        return prompt
    if isinstance(prompt, str | Path):
        return load_prompt(prompt)
    if isinstance(prompt, PromptSource):
        return _of_model(task_id, prompt)
    if hasattr(prompt, "__array__"):
        try:
            return TaskPrompt(prompt=np.asarray(prompt), task_id=task_id)
        except PromptError as error:
            raise ExportError(f"Task {task_id!r}: {error}") from error
    raise ExportError(f"A task's prompt must be {_FORMS}. Received: {type(prompt).__name__} for task {task_id!r}.")


def _of_model(task_id: str, model: PromptSource) -> TaskPrompt:
    known = getattr(model, "task_ids", None)
    if known is not None and task_id not in known:
        raise ExportError(
            f"A model of several tasks is served under their names: {', '.join(known)}. Received: task {task_id!r}. "
            f"Use one of them, or pass `model.task_prompt({known[0]!r})`."
        )
    return model.task_prompt(task_id)
