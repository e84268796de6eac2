"""Name what differs between the task that a prompt was trained for and the one that it is asked to do."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from softprompt_tf.tasks import Task


class SaysItsTask(Protocol):
    """What is asked of a prompt; `TaskPrompt` is such."""

    @property
    def task_id(self) -> str: ...

    @property
    def template(self) -> str: ...

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def target_format(self) -> str: ...

    @property
    def backbone_fingerprint(self) -> str: ...


@dataclass(frozen=True)
class TrainedFor:
    """What is known of the task that a prompt was trained for; empty where unknown, fields as in `TaskPrompt`."""

    task_id: str = ""
    template: str = ""
    labels: tuple[str, ...] = ()
    target_format: str = "text"

    @classmethod
    def of(cls, prompt: SaysItsTask) -> "TrainedFor":
        """Return what a prompt says, without its vectors.

        Files of other tools say nothing of their task: the task id is then the name of the file or the folder.
        """
        says_more = prompt.backbone_fingerprint or prompt.template or prompt.labels
        return cls(prompt.task_id if says_more else "", prompt.template, tuple(prompt.labels), prompt.target_format)


@runtime_checkable
class KnowsItsTasks(Protocol):
    """A model that can say what its prompts were trained for: `PromptedT5` and `PromptEnsemble` are such."""

    def trained_for(self, task_id: Any = None) -> Sequence[TrainedFor]:
        """Return an entry for each prompt that is used for the rows of a task; none where nothing is known."""
        ...


def task_differences(prompt: SaysItsTask | TrainedFor, task: Task) -> list[str]:
    """Return a text for each difference; what a prompt file does not say is not compared."""
    own = prompt if isinstance(prompt, TrainedFor) else TrainedFor.of(prompt)
    pairs = {
        "task id": (own.task_id, task.name),
        "labels": (list(own.labels), list(task.label_words)),
        "template": (own.template, task.inputs),
    }
    differences = [f"{name} {said!r}, not {asked!r}" for name, (said, asked) in pairs.items() if said and said != asked]
    if own.template and own.target_format != task.target_format:
        differences.append(f"target format {own.target_format!r}, not {task.target_format!r}")
    return differences


def warn_of_another_task(prompt: SaysItsTask | TrainedFor, task: Task, *, name: str = "The prompt") -> None:
    """Say that a prompt was trained for another task.

    Warns:
      UserWarning: names each difference.
    """
    differences = task_differences(prompt, task)
    if differences:
        warnings.warn(
            f"{name} was trained for another task than {task.name!r}: {'; '.join(differences)}. It is asked all the same; "
            "its answers may be wrong.",
            stacklevel=2,
        )


def warn_of_other_tasks(model: object, task: Task, *, task_id: Any = None) -> None:
    """Say which of a model's prompts were trained for another task; a model that does not know is not asked.

    Args:
      model: what is to be evaluated.
      task: what it is evaluated on.
      task_id: the task's name in a model of several prompts, else None.

    Warns:
      UserWarning: for each such prompt, with each difference.
    """
    tasks = model.trained_for(task_id) if isinstance(model, KnowsItsTasks) else ()
    for number, trained_for in enumerate(tasks, start=1):
        name = "The prompt" if len(tasks) == 1 else f"Prompt {number} of {len(tasks)}"
        warn_of_another_task(trained_for, task, name=name)
