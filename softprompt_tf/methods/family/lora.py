"""LoRA: trained low-rank products beside projections of the attentions, added and never merged, so that rows of tasks may mix.

Source: Hu et al. 2021, arXiv:2106.09685.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.errors import PromptError
from softprompt_tf.methods.family.method import PromptMethod, Shapes, check_integer, checked_task_ids, drawn_seed
from softprompt_tf.methods.family.method_config import MethodConfig, TaskStart, task_ids_of
from softprompt_tf.methods.family.small_networks import draw_ways_down
from softprompt_tf.methods.initializers import Vocabulary
from softprompt_tf.methods.task_tensors import DELTAS, PLACES, PROJECTIONS, row_shape
from softprompt_tf.settings.config_section import WHOLE_NUMBER


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoRA(PromptMethod):
    """LoRA with its settings; see `lora`.

    Args:
      alpha: what the products are scaled by, divided by the rank.
      places: which attentions change, of "encoder", "decoder" and "cross".
      projections: which of their projections change.
      length, task_ids, seed: as in `PromptMethod`; the length is the rank.
    """

    alpha: float
    places: tuple[str, ...]
    projections: tuple[str, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.places:
            raise PromptError("LoRA must change an attention. Received: encoder=False, decoder=False, cross=False.")
        if not self.projections or not set(self.projections) <= set(PROJECTIONS):
            raise PromptError(
                f"`projections` must be some of {', '.join(PROJECTIONS)}. Received: {', '.join(self.projections) or 'none'}."
            )
        if not isinstance(self.alpha, (int, float)) or isinstance(self.alpha, bool) or not 0 < self.alpha < np.inf:
            raise PromptError(f"`alpha` must be a number above 0. Received: alpha={self.alpha!r}.")

    @property
    def name(self) -> str:
        return "lora"

    def settings(self) -> dict[str, Any]:
        places = {place: place in self.places for place in PLACES}
        return {"rank": self.length, "alpha": self.alpha, **places, "projections": list(self.projections)}

    def shapes(self, sizes: BackboneSizes) -> Shapes:
        shapes: Shapes = {}
        for name, projection in self._names.items():
            layers, _ = row_shape(name, sizes)
            width_in, width_out = _widths(projection, sizes)
            shapes[f"{name}.down"] = (self.length, layers, width_in)
            shapes[f"{name}.up"] = (self.length, layers, width_out)
        return shapes

    def draw(
        self, vocabulary: Vocabulary, sizes: BackboneSizes, seed: int, task_id: str | None
    ) -> dict[str, np.ndarray]:
        return draw_ways_down(self.shapes(sizes), seed)

    def fold(self, variables: Mapping[str, Any], sizes: BackboneSizes) -> Mapping[str, Any]:
        """Put the ways down and up [K, R, L, F] beside each other, the scale in the way up."""
        from keras import ops

        scale = self.alpha / self.length
        return {
            name: ops.concatenate([variables[f"{name}.down"], scale * variables[f"{name}.up"]], axis=-1)
            for name in self._names
        }

    @property
    def _names(self) -> dict[str, str]:
        return {
            name: projection
            for name, (place, projection) in DELTAS.items()
            if place in self.places and projection in self.projections
        }


def _widths(projection: str, sizes: BackboneSizes) -> tuple[int, int]:
    inner = sizes.num_heads * sizes.head_dim
    return (inner, sizes.hidden_dim) if projection == "output" else (sizes.hidden_dim, inner)


def lora(
    rank: int = 8,
    *,
    alpha: float = 16.0,
    encoder: bool = True,
    decoder: bool = True,
    cross: bool = True,
    projections: Sequence[str] = ("query", "value"),
    task_ids: Sequence[str] | None = None,
    seed: int | None = None,
) -> LoRA:
    """LoRA: low-rank products added to projections of the attentions.

    A projection x W becomes x W + (alpha / rank) (x A) B with trained A [F_in, rank] and B [rank, F_out]. B starts at 0, so
    that training starts from the frozen model. The products stay apart from the weights: rows of other tasks may share a batch.

    Args:
      rank: the inner width of a product. The paper finds 1 to 8 enough.
      alpha: what the products are scaled by, divided by the rank.
      encoder: whether the encoder's self-attention changes.
      decoder: whether the decoder's self-attention changes.
      cross: whether the decoder's attention to the encoder output changes.
      projections: which projections of these change, of "query", "key", "value" and "output"; the paper's choice by default.
      task_ids: names of the tasks where one model trains several. Default None, one task.
      seed: of the first values, 0 or more. Default None: drawn, so that it follows `keras.utils.set_random_seed`.

    Raises:
      PromptError: if a setting is wrong, or nothing changes.

    Examples:
      >>> method = sp.lora(rank=4, projections=["query", "value"])
      >>> model = sp.PromptedT5(t5, method, labels=["negative", "positive"])

    Source: Hu et al. 2021, arXiv:2106.09685, sections 4.1 and 7.1.
    """
    chosen = {"encoder": encoder, "decoder": decoder, "cross": cross}
    check_integer("rank", rank, minimum=1)
    if isinstance(projections, str):
        raise PromptError(f"`projections` must be a list of names. Received: projections={projections!r}.")
    return LoRA(
        length=rank,
        alpha=alpha,
        places=tuple(place for place in PLACES if chosen[place]),
        projections=tuple(projections),
        task_ids=checked_task_ids(task_ids),
        seed=drawn_seed(seed),
    )


class LoRAConfig(MethodConfig):
    """LoRA: its rank, its scale, and what it changes."""

    method: Literal["lora"] = Field(default="lora", description="the name of a prompt method")
    rank: int = Field(default=8, gt=0, description=f"{WHOLE_NUMBER} (the inner width of a product)")
    alpha: float = Field(
        default=16.0, gt=0, description="a number above 0 (what products are scaled by, over the rank)"
    )
    encoder: bool = Field(default=True, description="true or false (whether the encoder's self-attention changes)")
    decoder: bool = Field(default=True, description="true or false (whether the decoder's self-attention changes)")
    cross: bool = Field(default=True, description="true or false (whether attention to the encoder output changes)")
    projections: list[Literal["query", "key", "value", "output"]] = Field(
        default=["query", "value"], min_length=1, description="a list of query, key, value, output"
    )

    def make(self, tasks: Sequence[TaskStart], *, seed: int) -> LoRA:
        settings = self.model_dump(exclude={"method"})
        return lora(**settings, task_ids=task_ids_of(tasks), seed=seed)
