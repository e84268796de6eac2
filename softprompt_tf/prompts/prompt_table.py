"""The trainable prompts of a model: task ids of a batch enter, their prompts [B, P, H] leave."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from softprompt_tf.errors import PromptError


@keras.saving.register_keras_serializable(package="softprompt_tf")
class PromptTable(keras.layers.Layer):
    """A table of prompts, one variable named "prompt": [P, H] for one task, [K, P, H] for K tasks.

    The variable is float32 under every dtype policy, and so is the sum of the batch's gradients; only what the layer
    returns has the compute dtype.

    Args:
      length: int. P, rows of a prompt.
      hidden_dim: int. H, the backbone's width.
      num_tasks: int. K. Default None, one task and no task axis.
      initial_value: array [P, H] or [K, P, H]. Default None, uniform in [-0.5, 0.5). It is no part of the config: a
        layer made from its config takes its values from the saved weights.

    Call arguments:
      batch_like: any tensor whose first dimension is B; its values do not matter.
      task_id: int [B], 0 to K - 1; needed where the table holds several tasks, refused where it holds one. A row with
        an id outside the table gets a prompt of NaN, on every device, and never another task's prompt.

    Returns:
      [B, P, H], compute dtype.

    Example:
      `PromptTable(20, 512, num_tasks=3)(token_ids, task_id=[0, 2])`

    Source: Lester et al. 2021, arXiv:2104.08691.
    """

    def __init__(
        self,
        length: int,
        hidden_dim: int,
        *,
        num_tasks: int | None = None,
        initial_value: np.ndarray | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.length = _positive("length", length)
        self.hidden_dim = _positive("hidden_dim", hidden_dim)
        self.num_tasks = None if num_tasks is None else _positive("num_tasks", num_tasks)
        # Made here and not in `build`, so that a table can be read and saved before it has seen a batch.
        self.prompt = self.add_weight(
            name="prompt",
            shape=self._shape,
            dtype="float32",
            initializer=self._initializer(initial_value),
            autocast=False,  # cast after the batch's rows are taken, so that their gradients are summed in float32
        )

    @property
    def _shape(self) -> tuple[int, ...]:
        tasks = () if self.num_tasks is None else (self.num_tasks,)
        return (*tasks, self.length, self.hidden_dim)

    def _initializer(self, value: np.ndarray | None) -> Any:
        if value is None:
            return keras.initializers.RandomUniform(-0.5, 0.5)
        if np.shape(value) != self._shape:
            raise PromptError(
                f"`initial_value` must have the shape {list(self._shape)}. Received: shape {list(np.shape(value))}."
            )
        return lambda shape, dtype: ops.convert_to_tensor(np.asarray(value, dtype=np.float32), dtype=dtype)

    def build(self, batch_like_shape: Sequence[int | None], task_id_shape: Sequence[int | None] | None = None) -> None:
        self.built = True

    def call(self, batch_like: Any, task_id: Any = None) -> Any:
        if (task_id is None) != (self.num_tasks is None):
            raise PromptError(
                "`task_id` must be given where the table holds several tasks, and only there. "
                f"Received: task_id={task_id}, num_tasks={self.num_tasks}."
            )
        if task_id is None:
            prompts = self.prompt + _zero_per_row(batch_like)  # [P, H] + [B, 1, 1] -> [B, P, H]
        else:
            prompts = self._prompts_of(ops.cast(task_id, "int32"))
        return ops.cast(prompts, self.compute_dtype)

    def _prompts_of(self, task_id: Any) -> Any:
        is_known = ops.logical_and(task_id >= 0, task_id < self.num_tasks)  # [B]
        # Reshaping a variable makes its gradient dense; a gather from the variable itself would give IndexedSlices.
        table = ops.reshape(self.prompt, (self.num_tasks, self.length * self.hidden_dim))  # [K, P * H]
        rows = ops.take(table, ops.where(is_known, task_id, 0), axis=0)  # [B, P * H]
        rows = ops.where(ops.expand_dims(is_known, 1), rows, float("nan"))
        return ops.reshape(rows, (-1, self.length, self.hidden_dim))  # [B, P, H]

    def compute_output_shape(
        self, batch_like_shape: Sequence[int | None], task_id_shape: Sequence[int | None] | None = None
    ) -> tuple[int | None, int, int]:
        return (batch_like_shape[0], self.length, self.hidden_dim)

    def get_config(self) -> dict[str, Any]:
        own = {"length": self.length, "hidden_dim": self.hidden_dim, "num_tasks": self.num_tasks}
        return {**super().get_config(), **own}


def _positive(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise PromptError(f"`{name}` must be a positive integer. Received: {name}={value!r}.")
    return value


def _zero_per_row(batch_like: Any) -> Any:
    """Return float32 zeros [B, 1, 1], made from the batch, since its size is unknown in a functional model."""
    num_axes = len(batch_like.shape)
    first = batch_like[(slice(None), *[slice(0, 1)] * (num_axes - 1))]  # [B, 1, ...], or [B, 0, ...]
    zeros = ops.sum(ops.zeros_like(first, dtype="float32"), axis=tuple(range(1, num_axes)))  # [B]
    return ops.reshape(zeros, (-1, 1, 1))
