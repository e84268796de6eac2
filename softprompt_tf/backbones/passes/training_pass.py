"""Say which pass trains a prompt on a T5: the fused one, or KerasHub's layers, and why."""

from typing import NamedTuple

import keras_hub

from softprompt_tf.backbones.passes.known_layers import changed_part, dropout_rate


class TrainingPass(NamedTuple):
    """Which pass trains a prompt.

    Args:
      name: "fused", whole stacks with gradients of their own; or "layers", KerasHub's layers one by one, which takes longer.
      reason: why it is "layers"; "" for "fused".
    """

    name: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.reason})" if self.reason else self.name


def training_pass_of(backbone: keras_hub.models.T5Backbone) -> TrainingPass:
    """Return the pass that trains a prompt on a backbone as it is now."""
    rate = dropout_rate(backbone)
    if rate:
        return TrainingPass("layers", f"the T5 has dropout={rate:g}; `load_t5(..., dropout=0.0)` takes it out")
    changed = changed_part(backbone)
    return TrainingPass("fused") if changed is None else TrainingPass("layers", f"it runs no changed layer: {changed}")
