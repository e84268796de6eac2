"""SuperPos-Prompt: each row of a prompt is a trained weighted sum of token embeddings.

Source: Ali Sadraei Javaheri et al. 2024, arXiv:2406.05279.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.errors import PromptError
from softprompt_tf.methods.family.method import PromptMethod, Shapes, check_integer, checked_task_ids, drawn_seed
from softprompt_tf.methods.family.method_config import LengthConfig, PromptPosition, PromptSight, TaskStart, task_ids_of
from softprompt_tf.methods.family.small_networks import draw_normal
from softprompt_tf.methods.initializers import Vocabulary, sampled_vocabulary
from softprompt_tf.methods.task_tensors import PROMPT
from softprompt_tf.settings.config_section import WHOLE_NUMBER

WEIGHTS = "weights"
EMBEDDINGS = "embeddings"
CHANGES = "embedding_changes"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SuperPos(PromptMethod):
    """SuperPos-Prompt with its settings; see `superpos`.

    Args:
      num_embeddings: M, token embeddings in a sum.
      train_embeddings: whether each row has trained changes to the embeddings.
      population_size: the most frequent pieces, of which the embeddings are drawn.
      length, task_ids, seed: as in `PromptMethod`.
    """

    num_embeddings: int
    train_embeddings: bool
    population_size: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("num_embeddings", self.num_embeddings, minimum=1)
        check_integer("population_size", self.population_size, minimum=1)
        if not isinstance(self.train_embeddings, bool):
            raise PromptError(
                f"`train_embeddings` must be True or False. Received: train_embeddings={self.train_embeddings!r}."
            )

    @property
    def name(self) -> str:
        return "superpos"

    @property
    def frozen_variables(self) -> tuple[str, ...]:
        return (EMBEDDINGS,)

    def settings(self) -> dict[str, Any]:
        names = ("length", "num_embeddings", "train_embeddings")
        return {name: getattr(self, name) for name in names}

    def shapes(self, sizes: BackboneSizes) -> Shapes:
        embeddings = (self.num_embeddings, sizes.hidden_dim)
        shapes: Shapes = {WEIGHTS: (self.length, self.num_embeddings), EMBEDDINGS: embeddings}
        return shapes | ({CHANGES: (self.length, *embeddings)} if self.train_embeddings else {})

    def draw(
        self, vocabulary: Vocabulary, sizes: BackboneSizes, seed: int, task_id: str | None
    ) -> dict[str, np.ndarray]:
        generator = np.random.Generator(np.random.Philox(seed))
        shapes = self.shapes(sizes)
        embeddings = sampled_vocabulary(self.population_size)(vocabulary)(seed, shapes[EMBEDDINGS])  # type: ignore[arg-type]
        # So wide that a row is as large as one embedding.
        values = {WEIGHTS: draw_normal(generator, shapes[WEIGHTS], self.num_embeddings**-0.5), EMBEDDINGS: embeddings}
        return values | ({CHANGES: np.zeros(shapes[CHANGES], np.float32)} if self.train_embeddings else {})

    def fold(self, variables: Mapping[str, Any], sizes: BackboneSizes) -> Mapping[str, Any]:
        """Sum the embeddings, with a row's changes to them, by the row's weights."""
        from keras import ops

        weights, embeddings = variables[WEIGHTS], variables[EMBEDDINGS]  # [K, P, M], [K, M, H]
        prompt = ops.matmul(weights, embeddings)  # [K, P, H]
        if self.train_embeddings:
            changes = ops.matmul(weights[..., None, :], variables[CHANGES])  # [K, P, 1, H]
            prompt = prompt + changes[..., 0, :]
        return {PROMPT: prompt}


def superpos(
    length: int = 10,
    *,
    num_embeddings: int = 128,
    train_embeddings: bool = True,
    population_size: int = 5_000,
    task_ids: Sequence[str] | None = None,
    position: str = "front",
    sees: str = "all",
    seed: int | None = None,
) -> SuperPos:
    """SuperPos-Prompt: each row of a task's prompt [P, H] is a trained weighted sum of M token embeddings.

    The weights may be negative and need not sum to 1. The embeddings stay as they are; in front of the sum, each row adds
    trained changes to them, which start at 0. A saved task has the sums alone.

    Args:
      length: P, rows of a prompt.
      num_embeddings: M, embeddings in a sum. From 128 on the paper's scores do not rise.
      train_embeddings: whether there are trained changes to the embeddings, P * M * H values, as in the paper; without them,
        only the P * M weights are trained.
      population_size: the embeddings are drawn from so many of the most frequent pieces.
      task_ids: names of the tasks where one model trains several, each with embeddings of its own. Default None, one task.
      position: where the rows go, as in `prompt_tuning`.
      sees: what rows in front of the text see, as in `prompt_tuning`.
      seed: of the first values, 0 or more. Default None: drawn, so that it follows `keras.utils.set_random_seed`.

    Raises:
      PromptError: if a setting is wrong.

    Examples:
      >>> method = sp.superpos(length=10, num_embeddings=64)
      >>> model = sp.PromptedT5(t5, method, labels=["negative", "positive"])

    Source: Ali Sadraei Javaheri et al. 2024, arXiv:2406.05279, section 3. Length and first weights are this library's.
    """
    return SuperPos(
        length=length,
        num_embeddings=num_embeddings,
        train_embeddings=train_embeddings,
        population_size=population_size,
        task_ids=checked_task_ids(task_ids),
        position=position,
        sees=sees,
        seed=drawn_seed(seed),
    )


class SuperPosConfig(LengthConfig, PromptPosition, PromptSight):
    """SuperPos-Prompt: its length P, and the embeddings that each row sums."""

    method: Literal["superpos"] = Field(default="superpos", description="the name of a prompt method")
    length: int = Field(default=10, gt=0, description=f"{WHOLE_NUMBER} (positions)")
    num_embeddings: int = Field(default=128, gt=0, description=f"{WHOLE_NUMBER} (embeddings in a sum)")
    train_embeddings: bool = Field(default=True, description="true or false (trained changes to the embeddings)")
    population_size: int = Field(default=5_000, gt=0, description=f"{WHOLE_NUMBER} (the most frequent pieces)")

    def make(self, tasks: Sequence[TaskStart], *, seed: int) -> SuperPos:
        return superpos(
            **self.model_dump(exclude={"method", "position"}),
            position=self.position_for(tasks),
            task_ids=task_ids_of(tasks),
            seed=seed,
        )
