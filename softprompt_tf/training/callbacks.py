"""Keras's batch logs enter; logs of each batch alone leave, and a run whose loss is no number any more is stopped.

Keras hands to callbacks a running mean over the epoch. `BatchLogs` makes it the value of the batch, which the callbacks
after it then average over the interval that they report.
"""

import math
import statistics
import time
from typing import Any

import keras

from softprompt_tf.errors import NonFiniteLossError

Logs = dict[str, Any] | None


def steps_done(model: keras.Model) -> int:
    """Return how many batches the compiled model's optimizer has taken.

    The first optimizer variable is the count of batches, also where gradients are accumulated over several of them.
    """
    return int(model.optimizer.variables[0].numpy())


def learning_rate(model: keras.Model) -> float:
    """Return the rate of the next step; a mirrored variable cannot be cast by `float` itself."""
    rate = model.optimizer.learning_rate
    return float(rate.numpy() if hasattr(rate, "numpy") else rate)


def is_due(previous: int, step: int, every_steps: int) -> bool:
    """Say whether a multiple of `every_steps` lies in (previous, step].

    `step` grows by more than 1 where the model was compiled with `steps_per_execution`.
    """
    return step // every_steps > previous // every_steps


class BatchLogs(keras.callbacks.Callback):
    """Make the logs those of the batch alone and add `seconds_per_step`; goes before all other callbacks.

    Attributes:
      durations_s: seconds that each step took, data included, other callbacks not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.durations_s: list[float] = []
        self._started = 0.0

    @property
    def seconds_per_step(self) -> float:
        """The median, which the first step's tracing does not move; 0 before the first step."""
        return statistics.median(self.durations_s) if self.durations_s else 0.0

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        self.model.reset_metrics()
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.durations_s.append(time.perf_counter() - self._started)
        if logs is not None:
            logs["seconds_per_step"] = self.durations_s[-1]


class StopOnNonFiniteLoss(keras.callbacks.Callback):
    """End the run at the first loss that is NaN or infinite.

    Keras has brought the loss to the host by then, so the check costs nothing. It works with Keras's running mean too:
    one such batch makes the mean non-finite at once.

    Raises:
      NonFiniteLossError: names the step, counted from 1, and the learning rate.
    """

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if math.isfinite(loss):
            return
        raise NonFiniteLossError(
            f"The training loss must be finite. Received: loss={loss} at step {steps_done(self.model)}, "
            f"learning_rate={learning_rate(self.model):g}. Lower the learning rate, or use float32 or bfloat16 in place of float16."
        )


class MeanLogs:
    """The mean of each log value since the last `take`."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}

    def add(self, logs: Logs) -> None:
        for name, value in (logs or {}).items():
            self._values.setdefault(name, []).append(float(value))

    def take(self) -> dict[str, float]:
        """Return the means and start anew."""
        means = {name: statistics.fmean(values) for name, values in self._values.items()}
        self._values = {}
        return means
