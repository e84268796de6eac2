"""Decomposed prompt tuning (DPT): a prompt is the product of two small matrices.

Source: Xiao et al. 2023, arXiv:2310.10094.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.methods.family.method import PromptMethod, Shapes, check_integer, checked_task_ids, drawn_seed
from softprompt_tf.methods.family.method_config import LengthConfig, PromptPosition, PromptSight, TaskStart, task_ids_of
from softprompt_tf.methods.family.small_networks import draw_uniform
from softprompt_tf.methods.initializers import Vocabulary
from softprompt_tf.methods.task_tensors import PROMPT
from softprompt_tf.settings.config_section import WHOLE_NUMBER

LEFT = "left"
RIGHT = "right"
LIMIT = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class LowRank(PromptMethod):
    """Decomposed prompt tuning with its settings; see `low_rank`.

    Args:
      rank: R, the inner size of the product.
      length, task_ids, seed: as in `PromptMethod`.
    """

    rank: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("rank", self.rank, minimum=1)

    @property
    def name(self) -> str:
        return "low_rank"

    def settings(self) -> dict[str, Any]:
        return {"length": self.length, "rank": self.rank}

    def shapes(self, sizes: BackboneSizes) -> Shapes:
        return {LEFT: (self.length, self.rank), RIGHT: (self.rank, sizes.hidden_dim)}

    def draw(
        self, vocabulary: Vocabulary, sizes: BackboneSizes, seed: int, task_id: str | None
    ) -> dict[str, np.ndarray]:
        generator = np.random.Generator(np.random.Philox(seed))
        return {name: draw_uniform(generator, shape, LIMIT) for name, shape in self.shapes(sizes).items()}

    def fold(self, variables: Mapping[str, Any], sizes: BackboneSizes) -> Mapping[str, Any]:
        """Multiply [K, P, R] by [K, R, H]."""
        from keras import ops

        return {PROMPT: ops.matmul(variables[LEFT], variables[RIGHT])}


def low_rank(
    length: int = 100,
    *,
    rank: int = 10,
    task_ids: Sequence[str] | None = None,
    position: str = "front",
    sees: str = "all",
    seed: int | None = None,
) -> LowRank:
    """Decomposed prompt tuning: a task's prompt [P, H] is a product of two trained matrices, [P, R] and [R, H].

    With a small R it trains R * (P + H) values instead of P * H. A saved task has the product alone.

    Args:
      length: P, rows of a prompt, 100 in the paper.
      rank: R, 10 in the paper.
      task_ids: names of the tasks where one model trains several. Default None, one task.
      position: where the rows go, as in `prompt_tuning`.
      sees: what rows in front of the text see, as in `prompt_tuning`.
      seed: of the first values, 0 or more. Default None: drawn, so that it follows `keras.utils.set_random_seed`.

    Raises:
      PromptError: if a setting is wrong.

    Examples:
      >>> method = sp.low_rank(length=100, rank=10)
      >>> model = sp.PromptedT5(t5, method, labels=["negative", "positive"])

    Source: Xiao et al. 2023, arXiv:2310.10094; the first values, uniform in [-0.5, 0.5), are those of its code (XYaoooo/DPT).
    """
    return LowRank(
        length=length,
        rank=rank,
        task_ids=checked_task_ids(task_ids),
        position=position,
        sees=sees,
        seed=drawn_seed(seed),
    )


class LowRankConfig(LengthConfig, PromptPosition, PromptSight):
    """Decomposed prompt tuning: its length P and its rank R."""

    method: Literal["low_rank"] = Field(default="low_rank", description="the name of a prompt method")
    length: int = Field(default=100, gt=0, description=f"{WHOLE_NUMBER} (positions)")
    rank: int = Field(default=10, gt=0, description=f"{WHOLE_NUMBER} (inner size of the product)")

    def make(self, tasks: Sequence[TaskStart], *, seed: int) -> LowRank:
        return low_rank(
            **self.model_dump(exclude={"method", "position"}),
            position=self.position_for(tasks),
            task_ids=task_ids_of(tasks),
            seed=seed,
        )
