"""A learning rate that falls along a cosine several times, each fall twice as long as the one before.

Loshchilov and Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts", arXiv:1608.03983. Keras's own
`CosineDecayRestarts` has no warm-up, and finds the cycle by a logarithm, whose rounding can miss a restart by a step.
"""

import math
from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from softprompt_tf.errors import ConfigError
from softprompt_tf.typing import Tensor


@keras.saving.register_keras_serializable(package="softprompt_tf")
class CosineRestarts(LearningRateSchedule):
    """A linear warm-up from 0, then cosines from the rate down to 0; the last one ends at the last step.

    Args:
      learning_rate: float. The highest rate, with which each cosine begins.
      steps: int. Of the complete training, the warm-up included.
      cycles: int. How many cosines there are; each is twice as long as the one before. Default 2.
      warmup_steps: int. Steps of the warm-up. Default 0.

    Raises:
      ConfigError: if there are too few steps for the cycles.

    Examples:
      >>> schedule = sp.training.CosineRestarts(1.0, 14, cycles=3)
      >>> [round(float(schedule(step)), 2) for step in (0, 1, 2, 4, 6, 10, 14)]
      [1.0, 0.5, 1.0, 0.5, 1.0, 0.5, 0.0]
    """

    def __init__(self, learning_rate: float, steps: int, *, cycles: int = 2, warmup_steps: int = 0):
        super().__init__()
        if cycles < 1 or warmup_steps < 0:
            raise ConfigError(
                "`cycles` must be at least 1, and `warmup_steps` not negative. "
                f"Received: cycles={cycles}, warmup_steps={warmup_steps}."
            )
        if steps - warmup_steps < 2**cycles - 1:
            raise ConfigError(
                f"{cycles} cycles, each twice as long as the one before, need {2**cycles - 1} steps after the warm-up. "
                f"Received: steps={steps}, warmup_steps={warmup_steps}. Take fewer cycles, or more steps."
            )
        self.learning_rate, self.steps = learning_rate, steps
        self.cycles, self.warmup_steps = cycles, warmup_steps
        shortest = (steps - warmup_steps) / (2**cycles - 1)
        self._lengths = [shortest * 2**cycle for cycle in range(cycles)]
        self._starts = [warmup_steps + shortest * (2**cycle - 1) for cycle in range(cycles)]

    def __call__(self, step: Tensor) -> Tensor:
        step = ops.cast(step, "float32")
        starts = ops.convert_to_tensor(self._starts, "float32")  # [cycles]
        cycle = ops.maximum(ops.sum(ops.cast(step >= starts, "int32")) - 1, 0)
        lengths = ops.convert_to_tensor(self._lengths, "float32")
        done = ops.clip((step - ops.take(starts, cycle)) / ops.take(lengths, cycle), 0.0, 1.0)
        warmth = ops.minimum(1.0, step / max(1, self.warmup_steps)) if self.warmup_steps else 1.0
        return self.learning_rate * warmth * 0.5 * (1.0 + ops.cos(math.pi * done))

    def get_config(self) -> dict[str, Any]:
        return {
            "learning_rate": self.learning_rate,
            "steps": self.steps,
            "cycles": self.cycles,
            "warmup_steps": self.warmup_steps,
        }
