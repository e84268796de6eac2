"""(IA)^3: trained vectors that scale keys, values and the inner states of the feed-forwards, never merged, so that rows may mix.

Source: Liu et al. 2022, arXiv:2205.05638.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.errors import PromptError
from softprompt_tf.methods.family.method import PromptMethod, Shapes, checked_task_ids, drawn_seed
from softprompt_tf.methods.family.method_config import MethodConfig, TaskStart, task_ids_of
from softprompt_tf.methods.initializers import Vocabulary
from softprompt_tf.methods.task_tensors import CHANGES, PLACES, PROJECTIONS, SCALES, STACKS, row_shape


@dataclasses.dataclass(frozen=True, kw_only=True)
class IA3(PromptMethod):
    """(IA)^3 with its settings; see `ia3`.

    Args:
      places: which attentions are scaled, of "encoder", "decoder" and "cross".
      projections: which of their projections.
      feed_forward: whether the feed-forwards of the places' stacks are scaled.
      length, task_ids, seed: as in `PromptMethod`; the length is 1.
    """

    places: tuple[str, ...]
    projections: tuple[str, ...]
    feed_forward: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        if not set(self.projections) <= set(PROJECTIONS):
            raise PromptError(
                f"`projections` must be some of {', '.join(PROJECTIONS)}. Received: {', '.join(self.projections)}."
            )
        if not self._names:
            raise PromptError(
                "(IA)^3 must scale something. Received: encoder, decoder and cross "
                f"{[place in self.places for place in PLACES]}, projections={list(self.projections)}, "
                f"feed_forward={self.feed_forward}."
            )

    @property
    def name(self) -> str:
        return "ia3"

    def shapes(self, sizes: BackboneSizes) -> Shapes:
        return {name: (self.length, *row_shape(name, sizes)) for name in self._names}

    def draw(
        self, vocabulary: Vocabulary, sizes: BackboneSizes, seed: int, task_id: str | None
    ) -> dict[str, np.ndarray]:
        return {name: np.ones(shape, np.float32) for name, shape in self.shapes(sizes).items()}

    @property
    def _names(self) -> list[str]:
        kinds = [f"{projection}_scale" for projection in self.projections]
        feed_forwards = [
            f"{stack}_feed_forward_scale" for stack in STACKS if self.feed_forward and stack in self.places
        ]
        return [
            name
            for name in SCALES
            if name in feed_forwards or (CHANGES[name][0] in self.places and CHANGES[name][1] in kinds)
        ]


def ia3(
    *,
    encoder: bool = True,
    decoder: bool = True,
    cross: bool = True,
    projections: Sequence[str] = ("key", "value"),
    feed_forward: bool = True,
    task_ids: Sequence[str] | None = None,
    seed: int | None = None,
) -> IA3:
    """(IA)^3: vectors that multiply keys, values and the inner states of the feed-forwards, in every layer.

    They start at 1, so that training starts from the frozen model. They stay apart from the weights: rows of other tasks may
    share a batch.

    Args:
      encoder: whether the encoder's self-attention and feed-forwards are scaled.
      decoder: whether the decoder's self-attention and feed-forwards are scaled.
      cross: whether the decoder's attention to the encoder output is scaled.
      projections: which projections of these attentions, of "query", "key", "value" and "output"; the paper's by default.
      feed_forward: whether the feed-forwards are scaled, between their activation and their last projection.
      task_ids: names of the tasks where one model trains several. Default None, one task.
      seed: kept, but nothing is drawn.

    Raises:
      PromptError: if a setting is wrong, or nothing is scaled.

    Source: Liu et al. 2022, arXiv:2205.05638, section 3.3.
    """
    chosen = {"encoder": encoder, "decoder": decoder, "cross": cross}
    if isinstance(projections, str):
        raise PromptError(f"`projections` must be a list of names. Received: projections={projections!r}.")
    return IA3(
        length=1,
        places=tuple(place for place in PLACES if chosen[place]),
        projections=tuple(projections),
        feed_forward=feed_forward,
        task_ids=checked_task_ids(task_ids),
        seed=drawn_seed(seed),
    )


class IA3Config(MethodConfig):
    """(IA)^3: what it scales."""

    method: Literal["ia3"] = Field(default="ia3", description="the name of a prompt method")
    encoder: bool = Field(default=True, description="true or false (whether the encoder's layers are scaled)")
    decoder: bool = Field(default=True, description="true or false (whether the decoder's own layers are scaled)")
    cross: bool = Field(default=True, description="true or false (whether attention to the encoder output is scaled)")
    projections: list[Literal["query", "key", "value", "output"]] = Field(
        default=["key", "value"], description="a list of query, key, value, output"
    )
    feed_forward: bool = Field(default=True, description="true or false (whether the feed-forwards are scaled)")

    def make(self, tasks: Sequence[TaskStart], *, seed: int) -> IA3:
        settings = self.model_dump(exclude={"method"})
        return ia3(**settings, task_ids=task_ids_of(tasks), seed=seed)
