"""Adapters: small trained networks behind the attentions and the feed-forwards, with a skip connection around each.

Source: Houlsby et al. 2019, arXiv:1902.00751.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.errors import PromptError
from softprompt_tf.methods.family.invertible import folded_invertible, invertible_shapes
from softprompt_tf.methods.family.method import PromptMethod, Shapes, check_integer, checked_task_ids, drawn_seed
from softprompt_tf.methods.family.method_config import MethodConfig, TaskStart, task_ids_of
from softprompt_tf.methods.family.small_networks import draw_ways_down, folded_units
from softprompt_tf.methods.initializers import Vocabulary
from softprompt_tf.methods.task_tensors import ADAPTERS, CHANGES, INVERTIBLE_ADAPTER, PLACES, row_shape
from softprompt_tf.settings.config_section import WHOLE_NUMBER


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adapters(PromptMethod):
    """Adapters with their settings; see `adapters`.

    Args:
      places: where there are some: "encoder", "decoder" (its self-attention and feed-forwards) and "cross".
      after_attention: whether there are some behind the attentions.
      after_feed_forward: whether there are some behind the feed-forwards.
      invertible: whether there is an invertible one at the input embeddings.
      length, task_ids, seed: as in `PromptMethod`; the length is the inner width.
    """

    places: tuple[str, ...]
    after_attention: bool
    after_feed_forward: bool
    invertible: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self._names:
            raise PromptError(
                "There must be adapters somewhere. Received: encoder, decoder and cross "
                f"{[place in self.places for place in PLACES]}, after_attention={self.after_attention}, "
                f"after_feed_forward={self.after_feed_forward}."
            )

    @property
    def name(self) -> str:
        return "adapters"

    def settings(self) -> dict[str, Any]:
        places = {place: place in self.places for place in PLACES}
        behind = {"after_attention": self.after_attention, "after_feed_forward": self.after_feed_forward}
        return {"bottleneck_dim": self.length, **places, **behind, "invertible": self.invertible}

    def shapes(self, sizes: BackboneSizes) -> Shapes:
        shapes: Shapes = {}
        for name in self._names:
            layers, _ = row_shape(name, sizes)
            shapes[f"{name}.down"] = (self.length, layers, sizes.hidden_dim)
            shapes[f"{name}.down_bias"] = (self.length, layers)
            shapes[f"{name}.up"] = (self.length, layers, sizes.hidden_dim)
            shapes[f"{name}.up_bias"] = (1, layers, sizes.hidden_dim)
        return {**shapes, **invertible_shapes(sizes.hidden_dim)} if self.invertible else shapes

    def draw(
        self, vocabulary: Vocabulary, sizes: BackboneSizes, seed: int, task_id: str | None
    ) -> dict[str, np.ndarray]:
        return draw_ways_down(self.shapes(sizes), seed)

    def fold(self, variables: Mapping[str, Any], sizes: BackboneSizes) -> Mapping[str, Any]:
        """Fold each adapter into units, [K, R, L, 2 H + 2]; see `folded_units`."""
        tensors = {name: folded_units(variables, name, axis=-3) for name in self._names}
        return {**tensors, INVERTIBLE_ADAPTER: folded_invertible(variables)} if self.invertible else tensors

    @property
    def _names(self) -> list[str]:
        kinds = {"attention_adapter": self.after_attention, "feed_forward_adapter": self.after_feed_forward}
        return [name for name in ADAPTERS if CHANGES[name][0] in self.places and kinds[CHANGES[name][1]]]


def adapters(
    bottleneck_dim: int = 16,
    *,
    after_attention: bool = True,
    after_feed_forward: bool = True,
    encoder: bool = True,
    decoder: bool = True,
    cross: bool = True,
    invertible: bool = False,
    task_ids: Sequence[str] | None = None,
    seed: int | None = None,
) -> Adapters:
    """Adapters: a bottleneck behind each attention and each feed-forward, before the sum with the states.

    What comes out of an attention or a feed-forward, y, becomes y + gelu(y D + b) U + c with trained D [H, R], b, U [R, H]
    and c. U and c start at 0, so that training starts from the frozen model. The decoder has them behind its
    self-attention, its attention to the encoder output and its feed-forward. The networks stay apart from the weights: rows of
    other tasks may share a batch.

    Args:
      bottleneck_dim: R, the inner width. The paper tries 8 to 256; 64 is its best single one, for BERT Large.
      after_attention: whether there is one behind each attention. False for one per layer, as in Pfeiffer et al. 2021.
      after_feed_forward: whether there is one behind each feed-forward.
      encoder: whether the encoder has them.
      decoder: whether the decoder's self-attention and feed-forwards have them.
      cross: whether the decoder's attention to the encoder output has them.
      invertible: whether the embeddings of the input go through an invertible adapter, and what goes into the output projection
        through its inverse, as those of MAD-X's languages. Its inner width is H / 4.
      task_ids: names of the tasks where one model trains several. Default None, one task.
      seed: of the first values, 0 or more. Default None: drawn, so that it follows `keras.utils.set_random_seed`.

    Raises:
      PromptError: if a setting is wrong, or there would be none.

    Source: Houlsby et al. 2019, arXiv:1902.00751, section 2.1; the GELU (its tanh form) is that of google-research/adapter-bert.
    One per layer: Pfeiffer et al. 2021, arXiv:2005.00247. Invertible: Pfeiffer et al. 2020, arXiv:2005.00052, section 3.3.
    """
    chosen = {"encoder": encoder, "decoder": decoder, "cross": cross}
    check_integer("bottleneck_dim", bottleneck_dim, minimum=1)
    return Adapters(
        length=bottleneck_dim,
        places=tuple(place for place in PLACES if chosen[place]),
        after_attention=after_attention,
        after_feed_forward=after_feed_forward,
        invertible=invertible,
        task_ids=checked_task_ids(task_ids),
        seed=drawn_seed(seed),
    )


class AdaptersConfig(MethodConfig):
    """Adapters: their inner width, and where they are."""

    method: Literal["adapters"] = Field(default="adapters", description="the name of a prompt method")
    bottleneck_dim: int = Field(default=16, gt=0, description=f"{WHOLE_NUMBER} (the inner width)")
    after_attention: bool = Field(default=True, description="true or false (whether one is behind each attention)")
    after_feed_forward: bool = Field(
        default=True, description="true or false (whether one is behind each feed-forward)"
    )
    encoder: bool = Field(default=True, description="true or false (whether the encoder has them)")
    decoder: bool = Field(
        default=True, description="true or false (whether the decoder's self-attention and feed-forwards have them)"
    )
    cross: bool = Field(default=True, description="true or false (whether attention to the encoder output has them)")
    invertible: bool = Field(
        default=False, description="true or false (whether an invertible one is at the input embeddings)"
    )

    def make(self, tasks: Sequence[TaskStart], *, seed: int) -> Adapters:
        settings = self.model_dump(exclude={"method"})
        return adapters(**settings, task_ids=task_ids_of(tasks), seed=seed)
