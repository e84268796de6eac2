"""Residual prompt tuning: a small network with a skip connection changes the rows of a prompt while they are trained.

Source: Razdaibiedina et al. 2023, arXiv:2305.03937.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.methods.family.method import Shapes, check_integer, checked_task_ids, drawn_seed
from softprompt_tf.methods.family.method_config import PromptPosition, PromptSight, TaskStart, task_ids_of
from softprompt_tf.methods.family.prompt_tuning import Initializer, PromptRowsConfig, PromptTuning
from softprompt_tf.methods.family.small_networks import dense, dense_shapes, draw_dense
from softprompt_tf.methods.initializers import Vocabulary, sampled_vocabulary
from softprompt_tf.methods.task_tensors import PROMPT
from softprompt_tf.settings.config_section import WHOLE_NUMBER

ROWS = "rows"
EPSILON = 1e-5  # of the layer norm, torch's default, which the paper's code takes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Residual(PromptTuning):
    """Residual prompt tuning with its settings; see `residual`.

    Args:
      bottleneck_dim: M, the width of the network's hidden layer.
      init, length, task_ids, seed: as in `PromptTuning`.
    """

    bottleneck_dim: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("bottleneck_dim", self.bottleneck_dim, minimum=1)

    @property
    def name(self) -> str:
        return "residual"

    def settings(self) -> dict[str, Any]:
        return {"length": self.length, "bottleneck_dim": self.bottleneck_dim}

    def shapes(self, sizes: BackboneSizes) -> Shapes:
        hidden_dim, bottleneck_dim = sizes.hidden_dim, self.bottleneck_dim
        return {
            ROWS: (self.length, hidden_dim),
            **dense_shapes("down", hidden_dim, bottleneck_dim),
            **dense_shapes("up", bottleneck_dim, hidden_dim),
            "norm.scale": (hidden_dim,),
            "norm.shift": (hidden_dim,),
        }

    def draw(
        self, vocabulary: Vocabulary, sizes: BackboneSizes, seed: int, task_id: str | None
    ) -> dict[str, np.ndarray]:
        generator = np.random.Generator(np.random.Philox(seed))
        return {
            ROWS: self._rows(vocabulary, seed, task_id),
            **draw_dense(generator, dense_shapes("down", sizes.hidden_dim, self.bottleneck_dim)),
            **draw_dense(generator, dense_shapes("up", self.bottleneck_dim, sizes.hidden_dim)),
            "norm.scale": np.ones(sizes.hidden_dim, np.float32),
            "norm.shift": np.zeros(sizes.hidden_dim, np.float32),
        }

    def fold(self, variables: Mapping[str, Any], sizes: BackboneSizes) -> Mapping[str, Any]:
        """Add to each row what the network makes of it: down, ReLU, up, layer norm."""
        from keras import ops

        rows = variables[ROWS]  # [K, P, H]
        made = dense(variables, "up", ops.relu(dense(variables, "down", rows)))
        centred = made - ops.mean(made, axis=-1, keepdims=True)
        normed = centred * ops.rsqrt(ops.mean(ops.square(centred), axis=-1, keepdims=True) + EPSILON)
        scale, shift = variables["norm.scale"][..., None, :], variables["norm.shift"][..., None, :]
        return {PROMPT: rows + normed * scale + shift}


def residual(
    length: int = 10,
    init: Initializer | Mapping[str, Initializer] | None = None,
    *,
    bottleneck_dim: int = 800,
    task_ids: Sequence[str] | None = None,
    position: str = "front",
    sees: str = "all",
    seed: int | None = None,
) -> Residual:
    """Residual prompt tuning: a prompt [P, H] per task, plus the output of one small network for each of its rows.

    The network is trained with the rows, and a saved task has the sum alone. The paper finds it better than prompt
    tuning with small T5s and short prompts, and less sensitive to the learning rate.

    Args:
      length: P, rows of a prompt, 10 in the paper.
      init: how the rows start, as in `prompt_tuning`. Default `sampled_vocabulary()`.
      bottleneck_dim: M, the width of the network's hidden layer, 800 in the paper's code.
      task_ids: names of the tasks where one model trains several, each with a network of its own. Default None, one task.
      position: where the rows go, as in `prompt_tuning`.
      sees: what rows in front of the text see, as in `prompt_tuning`.
      seed: of the first values, 0 or more. Default None: drawn, so that it follows `keras.utils.set_random_seed`.

    Raises:
      PromptError: if a setting is wrong.

    Examples:
      >>> method = sp.residual(length=10, bottleneck_dim=400)
      >>> model = sp.PromptedT5(t5, method, labels=["negative", "positive"])

    Source: Razdaibiedina et al. 2023, arXiv:2305.03937, section 3; the defaults are those of its code (arazd/ResidualPrompts).
    """
    return Residual(
        length=length,
        init=sampled_vocabulary() if init is None else init,
        bottleneck_dim=bottleneck_dim,
        task_ids=checked_task_ids(task_ids),
        position=position,
        sees=sees,
        seed=drawn_seed(seed),
    )


class ResidualConfig(PromptRowsConfig, PromptPosition, PromptSight):
    """Residual prompt tuning: its length P, how its rows start, and the width of its network."""

    method: Literal["residual"] = Field(default="residual", description="the name of a prompt method")
    length: int = Field(default=10, gt=0, description=f"{WHOLE_NUMBER} (positions)")
    bottleneck_dim: int = Field(default=800, gt=0, description=f"{WHOLE_NUMBER} (width of the network)")

    def make(self, tasks: Sequence[TaskStart], *, seed: int) -> Residual:
        return residual(
            self.length,
            self.init_of(tasks),
            bottleneck_dim=self.bottleneck_dim,
            task_ids=task_ids_of(tasks),
            position=self.position_for(tasks),
            sees=self.sees,
            seed=seed,
        )
