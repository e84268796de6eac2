"""What a user names as a task's prompt in, loaded prompts out: one, or the members of an ensemble that vote."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from softprompt_tf.errors import ExportError, PromptError
from softprompt_tf.prompts import TaskPrompt, check_members, load_prompt

OnePrompt = str | Path | TaskPrompt
ServedPrompt = OnePrompt | Sequence[OnePrompt]
"""A prompt file (`.safetensors`, `.npy`, a PEFT folder) or loaded prompt; or several of one task, which vote."""


def load_served_prompts(prompts: Mapping[str, ServedPrompt]) -> dict[str, tuple[TaskPrompt, ...]]:
    """Load each task's prompts.

    Returns:
      Task id -> one prompt, or the members of its ensemble.

    Raises:
      ExportError: if a task has no prompt, or its prompts cannot vote together.
      PromptFileError: if a prompt cannot be read.
    """
    return {task_id: members_of(task_id, prompt) for task_id, prompt in prompts.items()}


def members_of(task_id: str, prompt: ServedPrompt) -> tuple[TaskPrompt, ...]:
    """Load one task's prompts; see `load_served_prompts`."""
    if isinstance(prompt, str | Path | TaskPrompt):
        return (_loaded(prompt),)
    members = tuple(_loaded(member) for member in prompt)
    if not members:
        raise ExportError(f"A task needs a prompt, or several that vote. Received: none for task {task_id!r}.")
    if len(members) > 1:
        try:
            check_members(members)
        except PromptError as error:
            raise ExportError(f"Task {task_id!r}: {error}") from error
    return members


def _loaded(prompt: OnePrompt) -> TaskPrompt:
    return prompt if isinstance(prompt, TaskPrompt) else load_prompt(prompt)
