"""Late prompts: trained rows that enter before an encoder layer or after the encoder; the layers below do not depend on
the task.

Sources: Liu et al. 2022, arXiv:2210.11292 (rows that enter at a middle layer). Behind the encoder: this library's own.
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
from softprompt_tf.methods.family.method_config import TaskStart, task_ids_of
from softprompt_tf.methods.family.prompt_tuning import Initializer, PromptRowsConfig, PromptTuning
from softprompt_tf.methods.initializers import Vocabulary, sampled_vocabulary
from softprompt_tf.methods.task_tensors import (
    CROSS_KEY_VALUES,
    DECODER_KEY_VALUES,
    PROMPT,
    PROMPT_BEHIND_ENCODER,
    row_shape,
)

OUTPUT = "output"
ROWS = "rows"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatePrompts(PromptTuning):
    """Late prompts with their settings; see `late_prompts`.

    Args:
      layer: the encoder layer before which the rows enter, or "output".
      scale: what the trained rows are multiplied by; None until the backbone is known.
      decoder, cross: whether there are keys and values too.
      init, length, task_ids, seed: as in `PromptTuning`.
    """

    layer: int | str
    scale: float | None
    decoder: bool
    cross: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layer != OUTPUT:
            if isinstance(self.layer, str):
                raise PromptError(f'`layer` must be an encoder layer or "{OUTPUT}". Received: layer={self.layer!r}.')
            check_integer("layer", self.layer, minimum=0)
        is_number = isinstance(self.scale, (int, float)) and not isinstance(self.scale, bool)
        if self.scale is not None and not (is_number and 0 < self.scale < np.inf):
            raise PromptError(f"`scale` must be a number above 0. Received: scale={self.scale!r}.")

    @property
    def name(self) -> str:
        return "late_prompts"

    @property
    def tensor(self) -> str:
        """The name of the tensor that the rows become."""
        if self.layer == OUTPUT:
            return PROMPT_BEHIND_ENCODER
        return f"prompt_before_layer_{self.layer}" if self.layer else PROMPT

    def settings(self) -> dict[str, Any]:
        names = ("length", "layer", "scale", "decoder", "cross")
        return {name: getattr(self, name) for name in names}

    def settled(self, sizes: BackboneSizes, state_size: StateSize) -> PromptMethod:
        if self.layer != OUTPUT and int(self.layer) >= sizes.encoder_layers:
            raise PromptError(
                f"`layer` must be one of the encoder's {sizes.encoder_layers} layers, 0 to {sizes.encoder_layers - 1}, or "
                f'"{OUTPUT}", behind them. Received: layer={self.layer!r}.'
            )
        if self.scale is not None:
            return self
        there = None if self.layer == OUTPUT else int(self.layer)
        return dataclasses.replace(self, scale=state_size(there) / state_size(0))

    def shapes(self, sizes: BackboneSizes) -> Shapes:
        rows: Shapes = {ROWS: (self.length, sizes.hidden_dim)}
        return rows | {name: (self.length, *row_shape(name, sizes)) for name in self._key_values}

    def draw(
        self, vocabulary: Vocabulary, sizes: BackboneSizes, seed: int, task_id: str | None
    ) -> dict[str, np.ndarray]:
        generator = np.random.Generator(np.random.Philox(seed))
        shapes = self.shapes(sizes)
        key_values = {name: generator.standard_normal(shapes[name]).astype(np.float32) for name in self._key_values}
        return {ROWS: self._rows(vocabulary, seed, task_id), **key_values}

    def fold(self, variables: Mapping[str, Any], sizes: BackboneSizes) -> Mapping[str, Any]:
        """Scale the rows to the size of the states that they join."""
        others = {name: variables[name] for name in self._key_values}
        return {self.tensor: variables[ROWS] * (1.0 if self.scale is None else self.scale), **others}

    @property
    def _key_values(self) -> tuple[str, ...]:
        chosen = ((DECODER_KEY_VALUES, self.decoder), (CROSS_KEY_VALUES, self.cross))
        return tuple(name for name, is_on in chosen if is_on)


def late_prompts(
    length: int = 20,
    init: Initializer | Mapping[str, Initializer] | None = None,
    *,
    layer: int | str = OUTPUT,
    scale: float | None = None,
    decoder: bool = False,
    cross: bool = False,
    task_ids: Sequence[str] | None = None,
    seed: int | None = None,
) -> LatePrompts:
    """Late prompts: one trained [P, H] per task that enters late in the encoder, or after it.

    The layers below do not depend on the task. Their states are computed once for each text: once for a complete training, and
    once for all tasks that a served batch asks of the same text.

    Args:
      length: P, rows of a prompt.
      init: how the rows start, as in `prompt_tuning`. Default `sampled_vocabulary()`.
      layer: the encoder layer before which the rows enter, 0 to L - 1; 0 is prompt tuning. Default "output": behind the
        encoder, so that the decoder's attention sees them together with the encoder output.
      scale: what the trained rows are multiplied by. Default None: measured, so that embeddings become as large as the states
        where the rows enter.
      decoder: whether the decoder's self-attention has P trained keys and values too.
      cross: whether the decoder's attention to the encoder output has P trained keys and values too.
      task_ids: names of the tasks where one model trains several. Default None, one task.
      seed: of the first values, 0 or more. Default None: drawn, so that it follows `keras.utils.set_random_seed`.

    Raises:
      PromptError: if a setting is wrong; the layer, where the method meets its backbone.

    Examples:
      >>> method = sp.late_prompts(length=20)
      >>> model = sp.PromptedT5(t5, method, labels=["negative", "positive"])

    Sources: Liu et al. 2022, arXiv:2210.11292 (a middle layer); behind the encoder, this library's own.
    """
    return LatePrompts(
        length=length,
        init=sampled_vocabulary() if init is None else init,
        layer=layer,
        scale=scale,
        decoder=decoder,
        cross=cross,
        task_ids=checked_task_ids(task_ids),
        seed=drawn_seed(seed),
    )


class LatePromptsConfig(PromptRowsConfig):
    """Late prompts: their length P, how they start, and where they enter."""

    method: Literal["late_prompts"] = Field(default="late_prompts", description="the name of a prompt method")
    layer: int | Literal["output"] = Field(
        default="output", description='an encoder layer, or "output" for behind the encoder'
    )
    scale: float | None = Field(default=None, gt=0, description="a number above 0, or null for measured")
    decoder: bool = Field(default=False, description="true or false (keys and values in the decoder's self-attention)")
    cross: bool = Field(default=False, description="true or false (keys and values beside the encoder output)")

    def make(self, tasks: Sequence[TaskStart], *, seed: int) -> LatePrompts:
        return late_prompts(
            self.length,
            self.init_of(tasks),
            layer=self.layer,
            scale=self.scale,
            decoder=self.decoder,
            cross=self.cross,
            task_ids=task_ids_of(tasks),
            seed=seed,
        )
