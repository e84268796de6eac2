"""A method's own section of a config: `prompt:` with its name and its typed settings."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import Field

from softprompt_tf.methods.family.method import PromptMethod
from softprompt_tf.prompt_places import rows_of_template
from softprompt_tf.settings.config_section import WHOLE_NUMBER, Section

# Setting that came later -> its default.
_LATER: Mapping[str, Any] = {"position": None, "sees": "all", "invertible": False}


class TaskStart(NamedTuple):
    """What a method may know of a task before it starts: its name, its label words and its template of inputs."""

    name: str
    label_words: tuple[str, ...] = ()
    template: str = ""


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


class PromptPosition(Section):
    """What methods that make a prompt have in common: where its rows go."""

    position: Literal["front", "marked", "end"] | None = Field(
        default=None,
        description="front, marked (where `{prompt:3}` in the template says), end, or null for marked where a template has "
        "markers, and else front",
    )

    def position_for(self, tasks: Sequence[TaskStart]) -> str:
        """Return where the rows go; that of markers where there are some and nothing else is said."""
        has_markers = any(rows_of_template(task.template) for task in tasks)
        return self.position or ("marked" if has_markers else "front")


class PromptSight(Section):
    """What methods that make a prompt alone have in common: what its rows see."""

    sees: Literal["all", "earlier and text", "itself and text", "prompt", "earlier", "itself"] = Field(
        default="all",
        description="all, earlier and text, itself and text, prompt, earlier or itself (what rows in front of the text see)",
    )


def without_later_defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a section's values without those that mean what there was before the setting, so that earlier runs are still found."""
    return {key: value for key, value in settings.items() if key not in _LATER or value != _LATER[key]}


def task_ids_of(tasks: Sequence[TaskStart]) -> list[str] | None:
    """Return the names of several tasks; None for one."""
    return [task.name for task in tasks] if len(tasks) > 1 else None
