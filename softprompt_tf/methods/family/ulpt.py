"""ULPT: rows of very few dimensions, which a frozen random matrix projects up to a prompt, with a trained scale and shift.

Source: Wu et al. 2025, arXiv:2502.04501.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.methods.family.method import PromptMethod, Shapes, check_integer, checked_task_ids, drawn_seed
from softprompt_tf.methods.family.method_config import LengthConfig, PromptPosition, PromptSight, TaskStart, task_ids_of
from softprompt_tf.methods.family.small_networks import draw_normal, draw_uniform
from softprompt_tf.methods.initializers import Vocabulary
from softprompt_tf.methods.task_tensors import PROMPT
from softprompt_tf.settings.config_section import WHOLE_NUMBER

ROWS = "low_rows"
PROJECTION = "projection"
SCALE = "scale"
SHIFT = "shift"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ulpt(PromptMethod):
    """ULPT with its settings; see `ulpt`.

    Args:
      low_dim: R, the width of a trained row.
      length, task_ids, seed: as in `PromptMethod`.
    """

    low_dim: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("low_dim", self.low_dim, minimum=1)

    @property
    def name(self) -> str:
        return "ulpt"

    @property
    def frozen_variables(self) -> tuple[str, ...]:
        return (PROJECTION,)

    @property
    def shared_variables(self) -> tuple[str, ...]:
        return (PROJECTION,)

    def settings(self) -> dict[str, Any]:
        return {"length": self.length, "low_dim": self.low_dim}

    def shapes(self, sizes: BackboneSizes) -> Shapes:
        return {
            ROWS: (self.length, self.low_dim),
            PROJECTION: (self.low_dim, sizes.hidden_dim),
            SCALE: (sizes.hidden_dim,),
            SHIFT: (sizes.hidden_dim,),
        }

    def draw(
        self, vocabulary: Vocabulary, sizes: BackboneSizes, seed: int, task_id: str | None
    ) -> dict[str, np.ndarray]:
        generator = np.random.Generator(np.random.Philox(seed))
        limit = (6 / (self.low_dim + sizes.hidden_dim)) ** 0.5  # Glorot's
        return {
            ROWS: draw_normal(generator, (self.length, self.low_dim)),
            PROJECTION: draw_uniform(generator, (self.low_dim, sizes.hidden_dim), limit),
            SCALE: np.ones(sizes.hidden_dim, np.float32),
            SHIFT: np.zeros(sizes.hidden_dim, np.float32),
        }

    def fold(self, variables: Mapping[str, Any], sizes: BackboneSizes) -> Mapping[str, Any]:
        """Project the rows [K, P, R] by [R, H], then scale and shift each of the H columns."""
        from keras import ops

        projected = ops.matmul(variables[ROWS], variables[PROJECTION])  # [K, P, H]
        return {PROMPT: projected * variables[SCALE][..., None, :] + variables[SHIFT][..., None, :]}


def ulpt(
    length: int = 100,
    *,
    low_dim: int = 2,
    task_ids: Sequence[str] | None = None,
    position: str = "front",
    sees: str = "all",
    seed: int | None = None,
) -> Ulpt:
    """ULPT: a task trains P rows of R dimensions, a scale and a shift; a frozen random matrix [R, H] makes the prompt of them.

    It trains P * R + 2 * H values. A saved task has the prompt [P, H] alone.

    Args:
      length: P, rows of a prompt, 100 in the paper.
      low_dim: R, the width of a trained row, 2 in the paper.
      task_ids: names of the tasks where one model trains several; they share the matrix. Default None, one task.
      position: where the rows go, as in `prompt_tuning`.
      sees: what rows in front of the text see, as in `prompt_tuning`.
      seed: of the first values and of the matrix, 0 or more. Default None: drawn, so that it follows
        `keras.utils.set_random_seed`.

    Raises:
      PromptError: if a setting is wrong.

    Examples:
      >>> method = sp.ulpt(length=100, low_dim=2)
      >>> model = sp.PromptedT5(t5, method, labels=["negative", "positive"])

    Source: Wu et al. 2025, arXiv:2502.04501, section 3; the first values are those of its code (MANGA-UOFA/ULPT).
    """
    return Ulpt(
        length=length,
        low_dim=low_dim,
        task_ids=checked_task_ids(task_ids),
        position=position,
        sees=sees,
        seed=drawn_seed(seed),
    )


class UlptConfig(LengthConfig, PromptPosition, PromptSight):
    """ULPT: its length P and the width R of its rows."""

    method: Literal["ulpt"] = Field(default="ulpt", description="the name of a prompt method")
    length: int = Field(default=100, gt=0, description=f"{WHOLE_NUMBER} (positions)")
    low_dim: int = Field(default=2, gt=0, description=f"{WHOLE_NUMBER} (width of a trained row)")

    def make(self, tasks: Sequence[TaskStart], *, seed: int) -> Ulpt:
        return ulpt(
            **self.model_dump(exclude={"method", "position"}),
            position=self.position_for(tasks),
            task_ids=task_ids_of(tasks),
            seed=seed,
        )
