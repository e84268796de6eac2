"""Drop values of a prompt while it is trained. What is dropped follows from a seed and the number of the step alone."""

from typing import Any

import keras
from keras import ops

from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.keras_backend import require_tensorflow
from softprompt_tf.model.given_numbers import is_number
from softprompt_tf.replicas import num_replicas, replica_number
from softprompt_tf.typing import Tensor


class PromptDropout:
    """Sets a share of the values of rows to 0, others in each step and for each row of a batch, and scales what is left.

    Args:
      rate: the share.
      seed: decides which, together with the step.
      step: the batches taken; a run that goes on from a checkpoint drops what it would have dropped without a break.
    """

    def __init__(self, rate: float, *, seed: int, step: Any):
        self._rate = rate
        self._seed = _StepSeed(seed, step)

    def __call__(self, rows: Tensor) -> Tensor:
        """Return rows [B, P, H] without what is dropped."""
        return keras.random.dropout(rows, self._rate, seed=self._seed)


class _StepSeed(keras.random.SeedGenerator):
    """A seed for each step and each replica. It has no state of its own, which a checkpoint would have to keep."""

    def __init__(self, seed: int, step: Any):
        self._own, self._step = seed % 2**31, step

    def next(self, ordered: bool = True) -> Tensor:
        step = ops.cast(ops.convert_to_tensor(self._step), "int64")
        return ops.stack([ops.full_like(step, self._own), step * num_replicas() + replica_number()])


def checked_dropout(rate: Any, *, has_prompt: bool, t5_dropout: float, optimizer: Any) -> float:
    """Return a rate of prompt dropout.

    Args:
      rate: as the user gave it.
      has_prompt: whether the method has rows in front of the text.
      t5_dropout: the rate of the T5's own.
      optimizer: of the model.

    Raises:
      ConfigError: if it is no number from 0 up to 1.
      TrainingError: if nothing could be dropped here.
    """
    if not is_number(rate) or not 0 <= rate < 1:
        raise ConfigError(f"`prompt_dropout` must be a number from 0 up to 1. Received: prompt_dropout={rate!r}.")
    if not rate:
        return 0.0
    require_tensorflow("Prompt dropout")
    if not has_prompt:
        raise TrainingError(
            "Prompt dropout needs a method with rows in front of the text. Received: a method without. Use prompt_dropout=0."
        )
    if hasattr(optimizer, "own_callback"):
        raise TrainingError(
            f"Prompt dropout needs an optimizer that takes steps. Received: {type(optimizer).__name__}, which compares losses. "
            "Use prompt_dropout=0."
        )
    check_t5_drops_nothing(float(rate), t5_dropout)
    return float(rate)


def check_t5_drops_nothing(rate: float, t5_dropout: float) -> None:
    """Refuse prompt dropout on a T5 that drops itself, and runs through other layers for it; a TrainingError."""
    if rate and t5_dropout:
        raise TrainingError(
            f"Prompt dropout needs a T5 without dropout. Received: a backbone with dropout={t5_dropout:g}. "
            "Load it without: `load_t5(..., dropout=0.0)`."
        )
