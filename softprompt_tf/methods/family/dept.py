"""DePT: a short prompt, and low-rank offsets that are added to the text's token embeddings by their position.

Source: Shi & Lipani 2024, arXiv:2309.05173.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.errors import PromptError
from softprompt_tf.methods.family.method import Shapes, check_integer, checked_task_ids, drawn_seed
from softprompt_tf.methods.family.method_config import TaskStart, task_ids_of
from softprompt_tf.methods.family.prompt_tuning import Initializer, PromptRowsConfig, PromptTuning
from softprompt_tf.methods.family.small_networks import draw_uniform
from softprompt_tf.methods.initializers import Vocabulary, sampled_vocabulary
from softprompt_tf.methods.task_tensors import PROMPT, TEXT_OFFSETS
from softprompt_tf.settings.config_section import WHOLE_NUMBER

LEFT = "offsets_left"
RIGHT = "offsets_right"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dept(PromptTuning):
    """DePT with its settings; see `dept`.

    Args:
      rank: R, the inner size of the product.
      num_offsets: S, positions of a text that have an offset.
      offsets_rate: the offsets' learning rate as a share of the optimizer's.
      init, length, task_ids, seed: as in `PromptTuning`.
    """

    rank: int
    num_offsets: int
    offsets_rate: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("rank", self.rank, minimum=1)
        check_integer("num_offsets", self.num_offsets, minimum=1)
        rate = self.offsets_rate
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate < np.inf:
            raise PromptError(f"`offsets_rate` must be a number above 0. Received: offsets_rate={rate!r}.")

    @property
    def name(self) -> str:
        return "dept"

    def settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("length", "rank", "num_offsets", "offsets_rate")}

    def shapes(self, sizes: BackboneSizes) -> Shapes:
        offsets = {LEFT: (self.num_offsets, self.rank), RIGHT: (self.rank, sizes.hidden_dim)}
        return {**super().shapes(sizes), **offsets}

    def draw(
        self, vocabulary: Vocabulary, sizes: BackboneSizes, seed: int, task_id: str | None
    ) -> dict[str, np.ndarray]:
        generator, shapes = np.random.Generator(np.random.Philox(seed)), self.shapes(sizes)
        return {
            PROMPT: self._rows(vocabulary, seed, task_id),
            LEFT: draw_uniform(generator, shapes[LEFT], self.rank**-0.5 / self.offsets_rate),
            RIGHT: np.zeros(shapes[RIGHT], np.float32),
        }

    def fold(self, variables: Mapping[str, Any], sizes: BackboneSizes) -> Mapping[str, Any]:
        """Multiply [K, S, R] by [K, R, H], each times the share of the rate, so that each moves by that share of a step."""
        from keras import ops

        left, right = variables[LEFT] * self.offsets_rate, variables[RIGHT] * self.offsets_rate
        return {PROMPT: variables[PROMPT], TEXT_OFFSETS: ops.matmul(left, right)}


def dept(
    length: int = 40,
    init: Initializer | Mapping[str, Initializer] | None = None,
    *,
    rank: int = 45,
    num_offsets: int = 256,
    offsets_rate: float = 1 / 60,
    task_ids: Sequence[str] | None = None,
    seed: int | None = None,
) -> Dept:
    """DePT: a prompt [P, H] and the product A B of two trained matrices, [S, R] and [R, H], which moves the text's embeddings.

    Row s of A B is added to the embedding of the token at position s of a text, the end of sequence included. B starts at 0, so
    that training starts from a plain prompt. A saved task has the prompt and the product.

    The paper trains A and B at a learning rate of their own. Here, they are multiplied by `offsets_rate`: with Adam or Adafactor,
    whose steps do not depend on the size of gradients, they move as with that share of the optimizer's rate. With SGD, it is the
    share's square.

    Args:
      length: P, rows of the prompt, 40 or 60 in the paper.
      init: how the prompt's rows start, as in `prompt_tuning`. Default `sampled_vocabulary()`.
      rank: R, 45 in the paper for 40 rows, and 30 for 60.
      num_offsets: S, positions of a text that have an offset, 256 in the paper. Texts may be longer: the tokens behind them have
        none.
      offsets_rate: the learning rate of A and B as a share of the optimizer's. The paper's code tries 0.005, 0.3 and 0.0005 with
        0.3 for the prompt; the default is the first.
      task_ids: names of the tasks where one model trains several. Default None, one task.
      seed: of the first values, 0 or more. Default None: drawn, so that it follows `keras.utils.set_random_seed`.

    Raises:
      PromptError: if a setting is wrong.

    Examples:
      >>> method = sp.dept(length=40, rank=45, num_offsets=128)
      >>> model = sp.PromptedT5(t5, method, labels=["negative", "positive"])

    Source: Shi & Lipani 2024, arXiv:2309.05173; settings and first values are those of its code (ZhengxiangShi/DePT).
    """
    return Dept(
        length=length,
        init=sampled_vocabulary() if init is None else init,
        rank=rank,
        num_offsets=num_offsets,
        offsets_rate=offsets_rate,
        task_ids=checked_task_ids(task_ids),
        seed=drawn_seed(seed),
    )


class DeptConfig(PromptRowsConfig):
    """DePT: its length P and how it starts, and the offsets of the text's positions."""

    method: Literal["dept"] = Field(default="dept", description="the name of a prompt method")
    length: int = Field(default=40, gt=0, description=f"{WHOLE_NUMBER} (positions)")
    rank: int = Field(default=45, gt=0, description=f"{WHOLE_NUMBER} (inner size of the offsets)")
    num_offsets: int = Field(default=256, gt=0, description=f"{WHOLE_NUMBER} (positions of a text with an offset)")
    offsets_rate: float = Field(
        default=1 / 60, gt=0, description="a number above 0 (the offsets' learning rate as a share of the optimizer's)"
    )

    def make(self, tasks: Sequence[TaskStart], *, seed: int) -> Dept:
        return dept(
            self.length,
            self.init_of(tasks),
            rank=self.rank,
            num_offsets=self.num_offsets,
            offsets_rate=self.offsets_rate,
            task_ids=task_ids_of(tasks),
            seed=seed,
        )
