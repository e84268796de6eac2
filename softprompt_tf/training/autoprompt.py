"""AutoPrompt: a prompt of pieces of the vocabulary, found by gradients, in the place of rows that an optimizer moves.

Source: Shin et al. 2020, arXiv:2010.15980, section 2.2, and its code, ucinlp/autoprompt: `create_trigger.py`.
"""

import random
from typing import Any

import keras
import numpy as np
from keras import ops

from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.keras_backend import require_tensorflow
from softprompt_tf.workers import joined, own_part

Tensor = Any


@keras.saving.register_keras_serializable(package="softprompt_tf")
class AutoPrompt(keras.optimizers.Optimizer):
    """Search for a prompt of pieces of the vocabulary, instead of an optimizer's steps.

    Each row of the prompt stays the embedding of a piece, so the prompt can be read. The gradients of `window` batches are added
    up. Then one position, drawn at random, is tried with the pieces whose embeddings lower the loss most by that gradient, on the
    next `window` batches; the piece of the lowest loss stays. `fit` does it, with a callback that it adds by itself.

    Args:
      candidates: pieces that are tried at a position, in addition to the one that is there. The paper tries 10 and 100.
      window: batches whose gradients are added up, and batches that the pieces are tried on. The paper's code has 30; 10 by
        default.
      seed: of the drawn positions, 0 or more. Default None: drawn, so that it follows `keras.utils.set_random_seed`.

    Raises:
      ConfigError: if a number is out of range.

    Source: Shin et al. 2020, arXiv:2010.15980, section 2.2. There, prompts are for masked language models and start from mask
    tokens; here they are in front of the encoder's input, and rows that are no piece start as the piece nearest to them.
    """

    def __init__(
        self,
        *,
        candidates: int = 10,
        window: int = 10,
        seed: int | None = None,
        name: str = "autoprompt",
        **kwargs: Any,
    ):
        for key, value in (("candidates", candidates), ("window", window)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"`{key}` must be a positive integer. Received: {key}={value!r}.")
        super().__init__(learning_rate=0.0, name=name, **kwargs)
        self.candidates = candidates
        self.window = window
        self.seed = random.randrange(2**31) if seed is None else seed

    def build(self, variables: list[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._sums = [self.add_variable_from_reference(variable, name="gradient") for variable in variables]

    def update_step(self, gradient: Tensor, variable: Tensor, learning_rate: Tensor) -> None:
        sums = self._sums[self._get_variable_index(variable)]
        self.assign_add(sums, ops.cast(gradient, sums.dtype))

    @property
    def gradient(self) -> keras.Variable:
        """The gradients of the prompt [P, H] that were added up since the last search."""
        return self._sums[0]

    @property
    def owes_search(self) -> bool:
        """Whether the search of the last step was interrupted: a run that went on from there would go another way."""
        is_due = int(self.iterations.numpy()) % self.window == 0
        return is_due and bool(np.any(self.gradient.numpy()))

    def own_callback(self, model: keras.Model, x: Any) -> keras.callbacks.Callback:
        """Return the callback that searches while a model is trained on a data set.

        Raises:
          TrainingError: if the model trains something else than one prompt in front of the input, or the data are no texts and
            no `tf.data.Dataset`.
        """
        require_tensorflow("AutoPrompt")
        import tensorflow as tf

        from softprompt_tf.training.token_search import TokenSearch

        method = getattr(model, "method", None)
        name = getattr(method, "name", type(model).__name__)
        if name != "prompt_tuning" or getattr(method, "task_ids", None) is not None:
            several = "" if name != "prompt_tuning" else " with several tasks"
            raise TrainingError(
                f"AutoPrompt searches the prompt of one task, prompt_tuning. Received: {name}{several}."
            )
        if model.distribute_strategy.num_replicas_in_sync > 1:
            raise TrainingError(
                f"AutoPrompt runs on one device. Received: {model.distribute_strategy.num_replicas_in_sync} replicas."
            )
        if joined() is not None:
            raise TrainingError(f"AutoPrompt runs in one process. Received: {own_part()[1]} workers.")
        if not isinstance(x, tf.data.Dataset):
            raise TrainingError(
                f"AutoPrompt needs texts or a tf.data.Dataset, which it can read again. Received: {type(x).__name__}."
            )
        return TokenSearch(self, x)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("learning_rate", None)
        return {**config, "candidates": self.candidates, "window": self.window, "seed": self.seed}
