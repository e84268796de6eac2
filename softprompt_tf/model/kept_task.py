"""What a file keeps of a task that a `PromptedT5` trained: its tensors, and what the model knows of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from softprompt_tf.errors import PromptError
from softprompt_tf.methods import TaskTable
from softprompt_tf.model.answering_model import AnsweringModel


def values_of_task(table: TaskTable, task_ids: Sequence[str] | None, task_id: str | None) -> dict[str, np.ndarray]:
    """Return one task's tensors by name, float32; what a network makes of others is folded.

    Args:
      table: of one task, or of several.
      task_ids: the names of several tasks, in the table's order; None for one.
      task_id: which one of several.

    Raises:
      PromptError: if it is none of them.
    """
    tensors = {name: np.asarray(ops.convert_to_numpy(value), np.float32) for name, value in table.tensors().items()}
    if task_ids is None:
        return tensors
    if task_id not in task_ids:
        raise PromptError(f"`task_id` must be one of {list(task_ids)}. Received: task_id={task_id!r}.")
    index = task_ids.index(task_id)
    return {name: value[index] for name, value in tensors.items()}


def known_of(model: AnsweringModel) -> dict[str, Any]:
    """Return the fields of a `TaskPrompt` that a model knows."""
    return {
        "method": model.method.name,
        "backbone": model.t5.name,
        "backbone_fingerprint": model.t5.fingerprint,
        "tokenizer_fingerprint": model.t5.tokenizer_fingerprint,
        "backbone_hidden_dim": model.t5.hidden_dim,
        "labels": model.labels,
        "max_input_tokens": model.max_input_tokens,
        "max_target_tokens": model.max_target_tokens,
        "target_format": model.target_format,
    }
