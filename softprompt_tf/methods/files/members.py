"""Several prompts of one task: check that they can answer together, and give them the weights of a mixture."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from softprompt_tf.errors import PromptError
from softprompt_tf.methods.files.prompt_file import TaskPrompt
from softprompt_tf.methods.task_tensors import MIXTURE_WEIGHT

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
        told = " and ".join(dict.fromkeys(f"{member.method} ({_shortened(member)})" for member in members))
        raise PromptError(
            f"The prompts of an ensemble must have the same tensors. Received: {told}. Take prompts of one method and its "
            "settings, or ask them one by one."
        )
    for name in members[0].tensors:
        lengths = [len(member.tensors[name]) for member in members]
        if len(set(lengths)) > 1:
            raise PromptError(f"The prompts of an ensemble must have one length. Received: lengths {lengths}.")
    for field in _SHARED:
        values = [getattr(member, field) for member in members]
        if any(value != values[0] for value in values):
            raise PromptError(f"The prompts of an ensemble must be of one task. Received: `{field}` {values}.")
    mixture_weights(members)


def mixture_weights(members: Sequence[TaskPrompt]) -> np.ndarray | None:
    """Return the weights of prompts that answer as a mixture, float64 [N] of sum 1; None where each has one vote.

    Raises:
      PromptError: if all weights are 0.
    """
    weights = [member.mixture_weight for member in members]
    if None in weights:
        return None
    total = sum(weights)  # type: ignore[arg-type]
    if not total > 0:
        raise PromptError(f"One weight of a mixture must be more than 0. Received: {weights}.")
    return np.array(weights, np.float64) / total


def with_weight(member: TaskPrompt, weight: float | None) -> TaskPrompt:
    """Return a prompt with another weight of a mixture; None for none."""
    if weight is None and MIXTURE_WEIGHT not in member.tensors:
        return member
    tensors = {name: value for name, value in member.tensors.items() if name != MIXTURE_WEIGHT}
    if weight is not None:
        tensors[MIXTURE_WEIGHT] = np.array([[weight]], np.float32)
    return dataclasses.replace(member, tensors=tensors)


def _shortened(member: TaskPrompt) -> str:
    names = list(member.tensors)
    return ", ".join(names if len(names) < 3 else [names[0], f"{len(names) - 1} more"])
