"""A method's own section of a config: `prompt:` with its name and its typed settings."""

from collections.abc import Sequence
from typing import NamedTuple

from pydantic import Field

from softprompt_tf.methods.family.method import PromptMethod
from softprompt_tf.settings.config_section import WHOLE_NUMBER, Section


class TaskStart(NamedTuple):
    """What a method may know of a task before it starts: its name and its label words."""

    name: str
    label_words: tuple[str, ...] = ()


class MethodConfig(Section):
    """The settings that every method has: its name."""

    method: str = Field(min_length=1, description="the name of a prompt method")

    @property
    def first_values(self) -> str:
        """Where the first values come from, such as "file:PATH"; empty where there is no choice."""
        return ""

    def make(self, tasks: Sequence[TaskStart], *, seed: int) -> PromptMethod:
        """Return the method for one task, or for several that one model trains."""
        raise NotImplementedError


class LengthConfig(MethodConfig):
    """What methods with rows at positions have in common: their length P."""

    length: int = Field(default=20, gt=0, description=f"{WHOLE_NUMBER} (positions)")


def task_ids_of(tasks: Sequence[TaskStart]) -> list[str] | None:
    """Return the names of several tasks; None for one."""
    return [task.name for task in tasks] if len(tasks) > 1 else None
