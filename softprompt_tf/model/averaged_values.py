"""What an optimizer such as `ScheduleFreeAdam` averages, in the model while it is scored.

Such an optimizer says `keeps_average = True`, and puts the average into variables by `finalize_variable_values`.
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
    values = [np.array(variable.numpy()) for variable in model.trainable_variables]
    put_average(model)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, values, strict=True):
            variable.assign(value)


class ValidateAverage(keras.callbacks.Callback):
    """Holds the average in the model while `fit` validates; `fit` of a `PromptedT5` adds it by itself."""

    def __init__(self) -> None:
        super().__init__()
        self._held = contextlib.ExitStack()

    def on_test_begin(self, logs: Any = None) -> None:
        self._held.enter_context(averaged_values(self.model))

    def on_test_end(self, logs: Any = None) -> None:
        self._held.close()
