"""Multitask prompt tuning (MPT): one shared prompt, times a matrix of rank one for each task.

Source: Wang et al. 2023, arXiv:2303.02861.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.methods.family.method import Shapes, check_integer, checked_task_ids, drawn_seed
from softprompt_tf.methods.family.method_config import TaskStart, task_ids_of
from softprompt_tf.methods.family.multitask_prompts import SHARED, SharedRows, SharedRowsConfig
from softprompt_tf.methods.family.prompt_tuning import Initializer
from softprompt_tf.methods.family.small_networks import draw_normal
from softprompt_tf.methods.initializers import Vocabulary, sampled_vocabulary
from softprompt_tf.methods.task_tensors import PROMPT
from softprompt_tf.settings.config_section import WHOLE_NUMBER

LEFT = "task_left"
RIGHT = "task_right"
DEVIATION = 0.02  # of the first values, as in huggingface/peft


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mpt(SharedRows):
    """Multitask prompt tuning with its settings; see `mpt`.

    Args:
      rank: R, of a task's matrix.
      init, length, task_ids, seed: as in `PromptTuning`.
    """

    rank: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("rank", self.rank, minimum=1)

    @property
    def name(self) -> str:
        return "mpt"

    def settings(self) -> dict[str, Any]:
        return {"length": self.length, "rank": self.rank}

    def shapes(self, sizes: BackboneSizes) -> Shapes:
        hidden_dim = sizes.hidden_dim
        return {SHARED: (self.length, hidden_dim), LEFT: (self.length, self.rank), RIGHT: (self.rank, hidden_dim)}

    def draw(
        self, vocabulary: Vocabulary, sizes: BackboneSizes, seed: int, task_id: str | None
    ) -> dict[str, np.ndarray]:
        generator = np.random.Generator(np.random.Philox(seed))
        shapes, around = self.shapes(sizes), np.float32(self.rank**-0.5)  # so that the product is around 1
        own = {name: around + draw_normal(generator, shapes[name], DEVIATION) for name in (LEFT, RIGHT)}
        return {SHARED: self._rows(vocabulary, seed, task_id), **own}

    def fold(self, variables: Mapping[str, Any], sizes: BackboneSizes) -> Mapping[str, Any]:
        """Multiply the shared rows [P, H], value by value, by the product of [K, P, R] and [K, R, H]."""
        from keras import ops

        return {PROMPT: variables[SHARED] * ops.matmul(variables[LEFT], variables[RIGHT])}


def mpt(
    length: int = 100,
    init: Initializer | None = None,
    *,
    rank: int = 1,
    task_ids: Sequence[str] | None = None,
    position: str = "front",
    sees: str = "all",
    seed: int | None = None,
) -> Mpt:
    """Multitask prompt tuning: a task's prompt [P, H] is a prompt that all tasks share, times a matrix of rank R of its own.

    A task starts near the shared prompt. A saved task has the product alone.

    Args:
      length: P, rows of a prompt, 100 in the paper.
      init: how the shared rows start. Default `sampled_vocabulary()`.
      rank: R, 1 in the paper: a task then has P + H values of its own.
      task_ids: names of the tasks. Default None, one task, which shares with no other.
      position: where the rows go, as in `prompt_tuning`.
      sees: what rows in front of the text see, as in `prompt_tuning`.
      seed: of the first values, 0 or more. Default None: drawn, so that it follows `keras.utils.set_random_seed`.

    Raises:
      PromptError: if a setting is wrong.

    Examples:
      >>> method = sp.mpt(length=20, task_ids=["film", "book"])
      >>> model = sp.PromptedT5(t5, method, labels=["negative", "positive"])
      >>> model.task_ids
      ('film', 'book')

    Source: Wang et al. 2023, arXiv:2303.02861, section 3.1; its distillation is a term of the loss (`Distillation`). That a task's
    matrix starts around 1 is this library's; in PEFT it starts around 0.
    """
    return Mpt(
        length=length,
        init=sampled_vocabulary() if init is None else init,
        rank=rank,
        task_ids=checked_task_ids(task_ids),
        position=position,
        sees=sees,
        seed=drawn_seed(seed),
    )


class MptConfig(SharedRowsConfig):
    """Multitask prompt tuning: its length P, how the shared rows start, and the rank of a task's matrix."""

    method: Literal["mpt"] = Field(default="mpt", description="the name of a prompt method")
    rank: int = Field(default=1, gt=0, description=f"{WHOLE_NUMBER} (rank of a task's matrix)")

    def make(self, tasks: Sequence[TaskStart], *, seed: int) -> Mpt:
        return mpt(
            self.length,
            self.shared_init(tasks),
            rank=self.rank,
            task_ids=task_ids_of(tasks),
            position=self.position_for(tasks),
            sees=self.sees,
            seed=seed,
        )
