"""Prefix tuning: trained keys and values in front of every attention's own, made by a small network while they are trained.

Source: Li & Liang 2021, arXiv:2101.00190.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.errors import PromptError
from softprompt_tf.methods.family.method import PromptMethod, Shapes, check_integer, checked_task_ids, drawn_seed
from softprompt_tf.methods.family.method_config import LengthConfig, TaskStart, task_ids_of
from softprompt_tf.methods.initializers import Vocabulary
from softprompt_tf.methods.task_tensors import (
    CROSS_KEY_VALUES,
    DECODER_KEY_VALUES,
    DECODER_PAST_KEY_VALUES,
    ENCODER_KEY_VALUES,
    row_shape,
)
from softprompt_tf.settings.config_section import WHOLE_NUMBER

PARTS = {"encoder": ENCODER_KEY_VALUES, "decoder": DECODER_KEY_VALUES, "cross": CROSS_KEY_VALUES}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrefixTuning(PromptMethod):
    """Trained keys and values with their settings; see `prefix_tuning`.

    Args:
      method: the name of the method.
      parts: which attentions have them, of "encoder", "decoder" and "cross".
      mlp_dim: M, the width of the network's hidden layer; None for no network.
      scale: the standard deviation of the first values.
      positions: whether the decoder's keys have the positions in front of the target.
      length, task_ids, seed: as in `PromptMethod`.
    """

    method: str
    parts: tuple[str, ...]
    mlp_dim: int | None
    scale: float
    positions: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.parts:
            raise PromptError(
                "Keys and values must go in somewhere. Received: encoder=False, decoder=False, cross=False. Turn one on."
            )
        if self.mlp_dim is not None:
            check_integer("mlp_dim", self.mlp_dim, minimum=1)
        if not isinstance(self.scale, (int, float)) or isinstance(self.scale, bool) or not 0 < self.scale < np.inf:
            raise PromptError(f"`scale` must be a number above 0. Received: scale={self.scale!r}.")

    @property
    def name(self) -> str:
        return self.method

    def settings(self) -> dict[str, Any]:
        if self.mlp_dim is None:
            return {}
        parts = {part: part in self.parts for part in PARTS}
        others = {"mlp_dim": self.mlp_dim, "scale": self.scale, "positions": self.positions}
        return {"length": self.length, **parts, **others}

    def shapes(self, sizes: BackboneSizes) -> Shapes:
        if self.mlp_dim is None:
            return {name: (self.length, *row_shape(name, sizes)) for name in self._names}
        mlp_dim = self.mlp_dim
        shapes: Shapes = {}
        for name in self._names:
            width = int(np.prod(row_shape(name, sizes)))
            shapes |= {
                f"{name}.embedding": (self.length, sizes.hidden_dim),
                f"{name}.hidden_kernel": (sizes.hidden_dim, mlp_dim),
                f"{name}.hidden_bias": (mlp_dim,),
                f"{name}.output_kernel": (mlp_dim, width),
                f"{name}.output_bias": (width,),
            }
        return shapes

    def draw(
        self, vocabulary: Vocabulary, sizes: BackboneSizes, seed: int, task_id: str | None
    ) -> dict[str, np.ndarray]:
        generator = np.random.Generator(np.random.Philox(seed))
        return {name: self._first_value(generator, name, shape) for name, shape in self.shapes(sizes).items()}

    def _first_value(self, generator: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name.endswith("_bias"):
            return np.zeros(shape, np.float32)
        if name.endswith("_kernel"):
            deviation = shape[0] ** -0.5
            deviation *= self.scale if name.endswith(".output_kernel") else 1.0
        else:
            deviation = 1.0 if name.endswith(".embedding") else self.scale
        return (deviation * generator.standard_normal(shape)).astype(np.float32)

    def fold(self, variables: Mapping[str, Any], sizes: BackboneSizes) -> Mapping[str, Any]:
        """Run the network: embeddings [K, P, H] through tanh of width M to keys and values [K, P, L, 2, N, D]."""
        if self.mlp_dim is None:
            return variables
        from keras import ops

        def made(name: str) -> Any:
            embedding, hidden_kernel, hidden_bias, output_kernel, output_bias = (
                variables[f"{name}.{part}"]
                for part in ("embedding", "hidden_kernel", "hidden_bias", "output_kernel", "output_bias")
            )
            hidden = ops.tanh(ops.matmul(embedding, hidden_kernel) + hidden_bias[..., None, :])
            flat = ops.matmul(hidden, output_kernel) + output_bias[..., None, :]  # [K, P, L * 2 * N * D]
            return ops.reshape(flat, (*flat.shape[:-1], *row_shape(name, sizes)))

        return {name: made(name) for name in self._names}

    @property
    def _names(self) -> tuple[str, ...]:
        names = {**PARTS, "decoder": DECODER_PAST_KEY_VALUES} if self.positions else PARTS
        return tuple(names[part] for part in self.parts)


def prefix_tuning(
    length: int = 20,
    *,
    encoder: bool = True,
    decoder: bool = True,
    cross: bool = True,
    mlp_dim: int | None = 512,
    scale: float = 1.0,
    positions: bool = False,
    task_ids: Sequence[str] | None = None,
    seed: int | None = None,
) -> PrefixTuning:
    """Prefix tuning: trained keys and values in front of those of every layer's attention.

    A two-layer network makes them from P trained embeddings; a saved task has the keys and values alone.

    Args:
      length: P, keys and values in front of each attention. The paper uses 200 for summarization and 10 for tables.
      encoder: whether the encoder's self-attention has some.
      decoder: whether the decoder's self-attention has some.
      cross: whether the decoder's attention to the encoder output has some.
      mlp_dim: M, the width of the network's hidden layer, 512 in the paper's code; None for trained keys and values alone.
      scale: the standard deviation of the first keys and values.
      positions: whether the decoder's keys have the positions in front of the target, as in PEFT. T5 has no positions
        for keys that it did not read, so by default no bias of positions lies on them.
      task_ids: names of the tasks where one model trains several. Default None, one task.
      seed: of the first values, 0 or more. Default None: drawn, so that it follows `keras.utils.set_random_seed`.

    Raises:
      PromptError: if a setting is wrong, or every part is off.

    Examples:
      >>> method = sp.prefix_tuning(length=10, cross=False)
      >>> model = sp.PromptedT5(t5, method, labels=["negative", "positive"])

    Source: Li & Liang 2021, arXiv:2101.00190, sections 4.2 and 4.3.
    """
    chosen = {"encoder": encoder, "decoder": decoder, "cross": cross}
    return PrefixTuning(
        method="prefix_tuning",
        length=length,
        parts=tuple(part for part in PARTS if chosen[part]),
        mlp_dim=mlp_dim,
        scale=scale,
        positions=positions,
        task_ids=checked_task_ids(task_ids),
        seed=drawn_seed(seed),
    )


class KeyValuesConfig(LengthConfig):
    """What methods with trained keys and values have in common: where these go, and how they start."""

    encoder: bool = Field(default=True, description="true or false (whether the encoder's self-attention has some)")
    decoder: bool = Field(default=True, description="true or false (whether the decoder's self-attention has some)")
    cross: bool = Field(default=True, description="true or false (whether attention to the encoder output has some)")
    scale: float = Field(default=1.0, gt=0, description="a number above 0 (standard deviation of the first values)")
    positions: bool = Field(
        default=False, description="true or false (whether the decoder's keys have positions, as in PEFT)"
    )


class PrefixTuningConfig(KeyValuesConfig):
    """Prefix tuning: its length P, where its keys and values go, and the network that makes them."""

    method: Literal["prefix_tuning"] = Field(default="prefix_tuning", description="the name of a prompt method")
    mlp_dim: int | None = Field(
        default=512, gt=0, description=f"{WHOLE_NUMBER} (width of the network), or null for none"
    )

    def make(self, tasks: Sequence[TaskStart], *, seed: int) -> PrefixTuning:
        settings = self.model_dump(exclude={"method"})
        return prefix_tuning(**settings, task_ids=task_ids_of(tasks), seed=seed)
