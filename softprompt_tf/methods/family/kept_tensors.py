"""A task that was trained before, as a method: its tensors are the variables, whatever they were folded from."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.errors import PromptError
from softprompt_tf.methods.family.method import PromptMethod, Shapes
from softprompt_tf.methods.files.task_prompt import TaskPrompt
from softprompt_tf.methods.initializers import Vocabulary
from softprompt_tf.methods.task_tensors import MIXTURE_WEIGHT, PROMPT_SIGHT


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class KeptTensors(PromptMethod):
    """The tensors of loaded tasks of one method, to answer with or to train on.

    Args:
      method: the name of the method that trained them.
      values: one task's tensors, or task id -> a task's tensors where there are several.
      length, task_ids, seed: as in `PromptMethod`.
    """

    method: str
    values: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.method

    @property
    def frozen_variables(self) -> tuple[str, ...]:
        return tuple(name for name in self._of(None) if name == PROMPT_SIGHT)  # a choice, and no value

    def shapes(self, sizes: BackboneSizes) -> Shapes:
        return {name: value.shape for name, value in self._of(None).items()}

    def draw(
        self, vocabulary: Vocabulary, sizes: BackboneSizes, seed: int, task_id: str | None
    ) -> dict[str, np.ndarray]:
        return dict(self._of(task_id))

    def _of(self, task_id: str | None) -> Mapping[str, np.ndarray]:
        """Return a task's tensors, those of the first task by default."""
        if self.task_ids is None:
            return self.values
        found: Mapping[str, np.ndarray] = self.values[self.task_ids[0] if task_id is None else task_id]
        return found


def unknown_tensors(
    method: str, shapes: Mapping[str, tuple[int, ...]], task_ids: tuple[str, ...] | None, *, seed: int
) -> KeptTensors:
    """Return a method for tensors of these shapes whose values follow later."""
    values = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    by_task = values if task_ids is None else dict.fromkeys(task_ids, values)
    length = next(iter(shapes.values()))[0]
    return KeptTensors(length=length, method=method, values=by_task, task_ids=task_ids, seed=seed)


def kept_tensors(tasks: TaskPrompt | Mapping[str, TaskPrompt]) -> KeptTensors:
    """Return a method that starts from one loaded task, or from several of one method and one shape.

    Weights of a mixture are left out: they count among several prompts alone, and do not train.

    Raises:
      PromptError: if the tasks differ in their method or shapes.
    """
    if isinstance(tasks, TaskPrompt):
        return KeptTensors(length=tasks.length, method=tasks.method, values=_injected(tasks))
    first = next(iter(tasks.values()))
    for name, task in tasks.items():
        if task.method != first.method or _shapes(task) != _shapes(first):
            raise PromptError(
                f"Tasks of one model must have one method and one shape. Received: {first.method} {_shapes(first)}, and "
                f"{name!r} with {task.method} {_shapes(task)}."
            )
    values = {name: _injected(task) for name, task in tasks.items()}
    return KeptTensors(length=first.length, method=first.method, values=values, task_ids=tuple(tasks))


def _shapes(task: TaskPrompt) -> dict[str, tuple[int, ...]]:
    return {name: value.shape for name, value in _injected(task).items()}


def _injected(task: TaskPrompt) -> dict[str, np.ndarray]:
    return {name: value for name, value in task.tensors.items() if name != MIXTURE_WEIGHT}
