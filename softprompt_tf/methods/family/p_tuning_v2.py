"""P-tuning v2: trained keys and values in front of every attention's own, with no network that makes them.

Source: Liu et al. 2022, arXiv:2110.07602.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from softprompt_tf.methods.family.method_config import TaskStart, task_ids_of
from softprompt_tf.methods.family.prefix_tuning import KeyValuesConfig, PrefixTuning, prefix_tuning


def p_tuning_v2(
    length: int = 20,
    *,
    encoder: bool = True,
    decoder: bool = True,
    cross: bool = True,
    scale: float = 1.0,
    positions: bool = False,
    task_ids: Sequence[str] | None = None,
    seed: int | None = None,
) -> PrefixTuning:
    """P-tuning v2: trained keys and values in front of those of every layer's attention.

    Args:
      length: P, keys and values in front of each attention. The paper takes 20 or fewer for simple tasks, about 100 for hard ones.
      encoder, decoder, cross, scale, positions, task_ids, seed: as in `prefix_tuning`.

    Raises:
      PromptError: if a setting is wrong, or every part is off.

    Examples:
      >>> method = sp.p_tuning_v2(length=10)
      >>> model = sp.PromptedT5(t5, method, labels=["negative", "positive"])

    Source: Liu et al. 2022, arXiv:2110.07602, sections 3.2 and 3.3.
    """
    without = prefix_tuning(
        length,
        encoder=encoder,
        decoder=decoder,
        cross=cross,
        mlp_dim=None,
        scale=scale,
        positions=positions,
        task_ids=task_ids,
        seed=seed,
    )
    return dataclasses.replace(without, method="p_tuning_v2")


class PTuningV2Config(KeyValuesConfig):
    """P-tuning v2: its length P, and where its keys and values go."""

    method: Literal["p_tuning_v2"] = Field(default="p_tuning_v2", description="the name of a prompt method")

    def make(self, tasks: Sequence[TaskStart], *, seed: int) -> PrefixTuning:
        settings = self.model_dump(exclude={"method"})
        return p_tuning_v2(**settings, task_ids=task_ids_of(tasks), seed=seed)
