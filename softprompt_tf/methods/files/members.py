"""Check that prompts can vote together."""

from collections.abc import Sequence

from softprompt_tf.errors import PromptError
from softprompt_tf.methods.files.prompt_file import TaskPrompt

_SHARED = ("labels", "max_input_tokens", "max_target_tokens", "target_format", "template")


def check_members(members: Sequence[TaskPrompt]) -> None:
    """Refuse prompts that cannot vote together.

    Raises:
      PromptError: naming what differs.
    """
    if len(members) < 2:
        raise PromptError(f"An ensemble needs two prompts or more. Received: {len(members)}.")
    names = [", ".join(member.tensors) for member in members]
    if len(set(names)) > 1:
        raise PromptError(f"The prompts of an ensemble must have the same tensors. Received: {' and '.join(names)}.")
    for name in members[0].tensors:
        lengths = [len(member.tensors[name]) for member in members]
        if len(set(lengths)) > 1:
            raise PromptError(f"The prompts of an ensemble must have one length. Received: lengths {lengths}.")
    for field in _SHARED:
        values = [getattr(member, field) for member in members]
        if any(value != values[0] for value in values):
            raise PromptError(f"The prompts of an ensemble must be of one task. Received: `{field}` {values}.")
