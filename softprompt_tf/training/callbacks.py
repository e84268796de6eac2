"""Keras callbacks: logs of each batch alone, and a stop at a loss that is not finite.

Keras hands to callbacks a running mean over the epoch. `BatchLogs` makes it the value of the batch, which the callbacks
after it then average over the interval that they report.
"""

import math
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from softprompt_tf.errors import NonFiniteLossError

Logs = dict[str, Any] | None


def steps_done(model: keras.Model) -> int:
    """Return how many batches the compiled model's optimizer has taken.

    The first optimizer variable is the count of batches, also where gradients are accumulated over several of them.
    """
    return int(model.optimizer.variables[0].numpy())


def learning_rate(model: keras.Model) -> float:
    """Return the rate of the next step, of `Prodigy` with what it found; `float` cannot cast a mirrored variable itself."""
    factors = (model.optimizer.learning_rate, getattr(model.optimizer, "d", 1.0))
    return math.prod(float(each.numpy() if hasattr(each, "numpy") else each) for each in factors)


def is_due(previous: int, step: int, every_steps: int) -> bool:
    """Say whether a multiple of `every_steps` lies in (previous, step].

    `step` grows by more than 1 where the model was compiled with `steps_per_execution`.
    """
    return step // every_steps > previous // every_steps


def is_finite(model: Any) -> bool:
    """Say whether all trained values are numbers: a step of finite loss can have a gradient that is not."""
    return all(bool(np.isfinite(variable.numpy()).all()) for variable in model.trainable_variables)


def check_finite(model: Any) -> None:
    """Refuse trained values that are no numbers, before they are scored or kept.

    Raises:
      NonFiniteLossError: names the step that made them.
    """
    if not is_finite(model):
        raise NonFiniteLossError(
            f"The trained values must be finite. Received: NaN or infinite ones after step {steps_done(model)}, "
            f"learning_rate={learning_rate(model):g}. Lower the learning rate, or use float32."
        )


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


def batch_weights(model: keras.Model) -> dict[str, float]:
    """Return what each log value of the last batch is a mean of, such as its number of target tokens, by the value's name.

    It is read from the state of the metrics, which holds one batch alone behind `BatchLogs`. A metric that is no mean is
    left out.
    """
    counts: dict[str, Any] = {}
    for metric in _single_metrics(model.metrics):
        count = getattr(metric, "count", None)  # of Keras's means
        counts[metric.name] = getattr(metric, "counted", None) if count is None else count
    known = {name: count for name, count in counts.items() if isinstance(count, keras.Variable)}
    return {name: float(keras.ops.convert_to_numpy(count)) for name, count in known.items()}


def _single_metrics(metrics: Iterable[keras.Metric]) -> Iterator[keras.Metric]:
    for metric in metrics:
        inner = getattr(metric, "metrics", None)  # of the one that holds all those of `compile`
        yield from [metric] if inner is None else _single_metrics(inner)


class MeanLogs:
    """The mean of each log value since the last `take`, weighted by what each batch's value is itself a mean of."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}
        self._weights: dict[str, list[float]] = {}

    def add(self, logs: Logs, weights: Mapping[str, float] | None = None) -> None:
        """Take a batch's values; one without a weight in `weights` counts 1."""
        for name, value in (logs or {}).items():
            self._values.setdefault(name, []).append(float(value))
            self._weights.setdefault(name, []).append((weights or {}).get(name, 1.0))

    def take(self) -> dict[str, float]:
        """Return the means and start anew."""
        means = {name: _mean(values, self._weights[name]) for name, values in self._values.items()}
        self._values, self._weights = {}, {}
        return means


def _mean(values: Sequence[float], weights: Sequence[float]) -> float:
    """Return the weighted mean; where nothing counts, such as in batches without target tokens, the plain one."""
    return statistics.fmean(values, weights if any(weights) else None)
