"""What an optimizer such as `ScheduleFreeAdam` averages, in the model while it is scored.

Such an optimizer says `keeps_average = True`. It puts the average into variables by `finalize_variable_values`, and the values that
it trains at back by `resume_variable_values`.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np


def keeps_average(optimizer: Any) -> bool:
    """Say whether an optimizer ends with an average in the place of the values that it trains at."""
    return getattr(optimizer, "keeps_average", False)


def put_average(model: Any) -> None:
    """Put the average into what a model trains, where its optimizer keeps one."""
    if keeps_average(model.optimizer):
        model.optimizer.finalize_variable_values(model.trainable_variables)


@contextlib.contextmanager
def averaged_values(model: Any) -> Iterator[None]:
    """Hold the average in the model within the block, then, bit by bit, the values that it trains at.

    Args:
      model: what has an `optimizer` and `trainable_variables`.
    """
    if not keeps_average(model.optimizer):
        yield
        return
    values = _trained_values(model)
    put_average(model)
    try:
        yield
    finally:
        _assign(model, values)


class ValidateAverage(keras.callbacks.Callback):
    """Holds the average in the model from a validation to the next epoch; `fit` of a `PromptedT5` puts it before other callbacks.

    So what they keep at the end of the epoch, such as the best weights, is what was scored. Where the model holds an average from
    before, such as that of an earlier `fit` or of `BackupAndRestore`, the training goes on at the values that belong to it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._values: list[np.ndarray] | None = None  # that the model trains at, while it holds the average

    def on_test_begin(self, logs: Any = None) -> None:
        self._go_on()
        self._values = _trained_values(self.model)
        put_average(self.model)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._go_on()
        self.model.optimizer.resume_variable_values(self.model.trainable_variables)

    def _go_on(self) -> None:
        if self._values is not None:
            _assign(self.model, self._values)
            self._values = None


def _trained_values(model: Any) -> list[np.ndarray]:
    return [np.array(variable.numpy()) for variable in model.trainable_variables]


def _assign(model: Any, values: list[np.ndarray]) -> None:
    for variable, value in zip(model.trainable_variables, values, strict=True):
        variable.assign(value)
