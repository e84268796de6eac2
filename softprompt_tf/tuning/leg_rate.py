"""The learning rate within a leg: a warm-up, then a cosine down to 0, or a steady rate. The leg's length can still change."""

import math

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from softprompt_tf.typing import Tensor

_NAMES = ("first", "start", "steps", "progress_from", "progress_to", "warm_up_steps")


class LegRate(LearningRateSchedule):
    """A rate whose leg is set again without tracing the step again.

    A leg may be cut into parts, each with its own number of steps: the cosine goes on over the share of the leg that is done.

    Args:
      rate: the highest.
      schedule: "cosine", with a linear warm-up at the beginning of a leg, or "constant", as in the paper.
    """

    def __init__(self, rate: float, schedule: str):
        super().__init__()
        self.rate, self.schedule = rate, schedule
        self._now = {name: keras.Variable(1.0, dtype="float32", trainable=False, name=name) for name in _NAMES}

    def begin(
        self, first: int, start: int, steps: int, *, progress: tuple[float, float] = (0.0, 1.0), warm_up_steps: int = 1
    ) -> None:
        """Set the part of a leg that comes next.

        Args:
          first: the step at which the leg began.
          start: the step at which this part begins.
          steps: of this part.
          progress: how much of the leg is done when the part begins and when it ends, from 0 to 1.
          warm_up_steps: of the leg.
        """
        values = (first, start, max(1, steps), *progress, max(1, warm_up_steps))
        for name, value in zip(_NAMES, values, strict=True):
            self._now[name].assign(float(value))

    def __call__(self, step: Tensor) -> Tensor:
        if self.schedule == "constant":
            return ops.convert_to_tensor(self.rate, "float32")
        first, start, steps, begin, end, warm_up = (ops.convert_to_tensor(self._now[name]) for name in _NAMES)
        step = ops.cast(step, "float32")
        warmth = ops.minimum(1.0, (step - first + 1.0) / warm_up)
        done = begin + (end - begin) * ops.clip((step - start) / steps, 0.0, 1.0)
        return self.rate * warmth * 0.5 * (1.0 + ops.cos(math.pi * done))

    def get_config(self) -> dict[str, object]:
        return {"rate": self.rate, "schedule": self.schedule}
