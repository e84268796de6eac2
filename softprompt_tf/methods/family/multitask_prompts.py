"""Prompts with a part that all tasks share and a part of each task's own.

Source: google-research/prompt-tuning, `prompt_tuning/extended/multitask_prompts.py`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.errors import PromptError
from softprompt_tf.methods.family.method import (
    PromptMethod,
    Shapes,
    StateSize,
    check_integer,
    checked_task_ids,
    drawn_seed,
)
from softprompt_tf.methods.family.method_config import PromptPosition, PromptSight, TaskStart, task_ids_of
from softprompt_tf.methods.family.prompt_tuning import Initializer, PromptRowsConfig, PromptTuning
from softprompt_tf.methods.family.small_networks import dense, dense_shapes, draw_normal, draw_uniform
from softprompt_tf.methods.initializers import Vocabulary, from_name, sampled_vocabulary
from softprompt_tf.methods.task_tensors import PROMPT
from softprompt_tf.settings.config_section import WHOLE_NUMBER
from softprompt_tf.settings.spelling import nearest

SHARED = "shared_rows"
TASK = "task_rows"
COMBINATIONS = ("add", "concatenate", "concatenate_features", "project")
LIMIT = 0.5  # of the first values of rows that are added


@dataclasses.dataclass(frozen=True, kw_only=True)
class SharedRows(PromptTuning):
    """What methods with rows that all tasks share have in common: one initializer draws them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.init, Mapping):
            raise PromptError(
                f"`init` must be one initializer: the tasks share the rows. Received: one for each of {sorted(self.init)}."
            )

    @property
    def shared_variables(self) -> tuple[str, ...]:
        return (SHARED,)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultitaskPrompts(SharedRows):
    """Shared and task prompts with their settings; see `multitask_prompts`.

    Args:
      combine: one of `COMBINATIONS`.
      task_size: rows or columns of a task's own; None for half of them.
      init, length, task_ids, seed: as in `PromptTuning`.
    """

    combine: str
    task_size: int | None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.combine not in COMBINATIONS:
            raise PromptError(
                f"`combine` must be one of {', '.join(COMBINATIONS)}. Received: combine={self.combine!r}."
                f"{nearest(str(self.combine), COMBINATIONS)}"
            )
        if self.task_size is not None:
            check_integer("task_size", self.task_size, minimum=1)
            if not self.combine.startswith("concatenate"):
                raise PromptError(
                    "`task_size` is for concatenate and concatenate_features alone. "
                    f"Received: task_size={self.task_size}, combine={self.combine!r}."
                )
        if self.combine == "concatenate":
            self._check_share("rows", self.length)

    @property
    def name(self) -> str:
        return "multitask_prompts"

    def settings(self) -> dict[str, Any]:
        return {"length": self.length, "combine": self.combine, "task_size": self.task_size}

    def settled(self, sizes: BackboneSizes, state_size: StateSize) -> PromptMethod:
        if self.combine == "concatenate_features":
            self._check_share("columns", sizes.hidden_dim)
        return self

    def shapes(self, sizes: BackboneSizes) -> Shapes:
        length, hidden_dim = self.length, sizes.hidden_dim
        if self.combine == "concatenate":
            own = self._own(length)
            return {SHARED: (length - own, hidden_dim), TASK: (own, hidden_dim)}
        if self.combine == "concatenate_features":
            own = self._own(hidden_dim)
            return {SHARED: (length, hidden_dim - own), TASK: (length, own)}
        shared: Shapes = {SHARED: (length, hidden_dim)}
        if self.combine == "project":
            return shared | dense_shapes("task", hidden_dim, hidden_dim)
        return shared | {TASK: (length, hidden_dim)}

    def draw(
        self, vocabulary: Vocabulary, sizes: BackboneSizes, seed: int, task_id: str | None
    ) -> dict[str, np.ndarray]:
        generator = np.random.Generator(np.random.Philox(seed))
        rows, hidden_dim = self._rows(vocabulary, seed, task_id), sizes.hidden_dim
        if self.combine == "concatenate":
            split = self.length - self._own(self.length)
            return {SHARED: rows[:split], TASK: rows[split:]}
        if self.combine == "concatenate_features":
            split = hidden_dim - self._own(hidden_dim)
            return {SHARED: rows[:, :split], TASK: rows[:, split:]}
        if self.combine == "project":
            kernel = draw_normal(generator, (hidden_dim, hidden_dim), hidden_dim**-0.5)
            return {SHARED: rows, "task.kernel": kernel, "task.bias": np.zeros(hidden_dim, np.float32)}
        return {SHARED: rows, TASK: draw_uniform(generator, rows.shape, LIMIT)}

    def fold(self, variables: Mapping[str, Any], sizes: BackboneSizes) -> Mapping[str, Any]:
        """Combine the shared rows, which have no axis K, with those of each task."""
        from keras import ops

        shared = variables[SHARED]
        if self.combine == "project":
            return {PROMPT: dense(variables, "task", shared)}
        own = variables[TASK]
        if self.combine == "add":
            return {PROMPT: shared + own}
        shared = ops.broadcast_to(shared, (*own.shape[:-2], *shared.shape))
        return {PROMPT: ops.concatenate([shared, own], axis=-2 if self.combine == "concatenate" else -1)}

    def _own(self, all_of_them: int) -> int:
        return all_of_them // 2 if self.task_size is None else self.task_size

    def _check_share(self, what: str, all_of_them: int) -> None:
        if not 0 < self._own(all_of_them) < all_of_them:
            raise PromptError(
                f"Of a prompt's {what}, some must be shared and some the task's own. Received: {all_of_them} {what}, "
                f"task_size={self.task_size}."
            )


def multitask_prompts(
    length: int = 100,
    init: Initializer | None = None,
    *,
    combine: str = "add",
    task_size: int | None = None,
    task_ids: Sequence[str] | None = None,
    position: str = "front",
    sees: str = "all",
    seed: int | None = None,
) -> MultitaskPrompts:
    """Shared and task prompts: tasks that are trained at once share one part of their prompts, and each has one of its own.

    A saved task has its combined prompt [P, H] alone.

    Args:
      length: P, rows of a task's combined prompt. The source uses 100.
      init: how the rows start. Default `sampled_vocabulary()`.
      combine: "add": a task's rows are added to the shared ones. "concatenate": its rows follow the shared ones.
        "concatenate_features": each row has shared columns first and then the task's. "project": a dense layer of the task
        makes its rows from the shared ones.
      task_size: how many of the P rows ("concatenate") or H columns ("concatenate_features") are the task's. Default: half.
      task_ids: names of the tasks. Default None, one task, which shares with no other.
      position: where the rows go, as in `prompt_tuning`.
      sees: what rows in front of the text see, as in `prompt_tuning`.
      seed: of the first values, 0 or more. Default None: drawn, so that it follows `keras.utils.set_random_seed`.

    Raises:
      PromptError: if a setting is wrong.

    Examples:
      >>> method = sp.multitask_prompts(length=20, combine="concatenate", task_ids=["film", "book"])
      >>> model = sp.PromptedT5(t5, method, labels=["negative", "positive"])
      >>> model.task_ids
      ('film', 'book')

    Source: google-research/prompt-tuning, `extended/multitask_prompts.py`. How the dense layer starts is this library's.
    """
    return MultitaskPrompts(
        length=length,
        init=sampled_vocabulary() if init is None else init,
        combine=combine,
        task_size=task_size,
        task_ids=checked_task_ids(task_ids),
        position=position,
        sees=sees,
        seed=drawn_seed(seed),
    )


class SharedRowsConfig(PromptRowsConfig, PromptPosition, PromptSight):
    """What methods with rows that all tasks share have in common: their length P and how those rows start."""

    length: int = Field(default=100, gt=0, description=f"{WHOLE_NUMBER} (positions)")

    def shared_init(self, tasks: Sequence[TaskStart]) -> Initializer:
        """Return the initializer of the shared rows; "class_labels" means those of all tasks."""
        words = tuple(dict.fromkeys(word for task in tasks for word in task.label_words))
        name = "sampled_vocabulary" if self.init == "class_labels" and not words else self.init
        return from_name(name, words, population_size=self.population_size)


class MultitaskPromptsConfig(SharedRowsConfig):
    """Shared and task prompts: their length P, how they start, and how they are combined."""

    method: Literal["multitask_prompts"] = Field(default="multitask_prompts", description="the name of a prompt method")
    combine: Literal["add", "concatenate", "concatenate_features", "project"] = Field(
        default="add", description="add, concatenate, concatenate_features or project"
    )
    task_size: int | None = Field(
        default=None, gt=0, description=f"{WHOLE_NUMBER} (rows or columns of a task's own), or null for half"
    )

    def make(self, tasks: Sequence[TaskStart], *, seed: int) -> MultitaskPrompts:
        return multitask_prompts(
            self.length,
            self.shared_init(tasks),
            combine=self.combine,
            task_size=self.task_size,
            task_ids=task_ids_of(tasks),
            position=self.position_for(tasks),
            sees=self.sees,
            seed=seed,
        )
