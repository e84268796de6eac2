"""The trainable tensors of a model's tasks, looked up by task for each row of a batch."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from softprompt_tf.errors import PromptError
from softprompt_tf.methods.task_tensors import IN_COMMON

Fold = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""The trained variables, by name -> the tensors that a task has, both [K, ...] or both without K."""


_HAS_TASK_AXIS = "has_task_axis"


def has_task_axis(variable: Any) -> bool:
    """Say whether a variable is of a table of several tasks and has a row for each, so that an optimizer keeps them apart."""
    return bool(getattr(variable, _HAS_TASK_AXIS, False))


@keras.saving.register_keras_serializable(package="softprompt_tf")
class TaskTable(keras.layers.Layer):
    """A table of what tasks train, a variable for each name: [...] for one task or where tasks share it, [K, ...] for K tasks.

    The variables are float32 under every dtype policy, and so is the sum of the batch's gradients; only what the layer
    returns has the compute dtype.

    Args:
      shapes: name -> the shape of one task's variable.
      num_tasks: int. K. Default None, one task and no task axis.
      initial_values: name -> array, of a task or with the task axis. Default None, uniform in [-0.5, 0.5). They are no part of
        the config: a layer made from its config takes its values from the saved weights.
      fold: turns the variables into the tensors of the tasks. Default None: they are the tensors.
      frozen: names of variables that are not trained. Default none.
      shared: names of variables that K tasks have in common, without a task axis. Default none.

    Call arguments:
      batch_like: any tensor whose first dimension is B; its values do not matter.
      task_id: int [B], 0 to K - 1; needed where the table holds several tasks, refused where it holds one. A row with
        an id outside the table gets NaN, on every device, and never another task's tensors.

    Returns:
      Name -> [B, ...], compute dtype. Where the table holds one task, [1, ...] for the names of `IN_COMMON`: one product of all
      the batch's rows takes less time than one for each row.

    Example:
      `TaskTable({"prompt": (20, 512)}, num_tasks=3)(token_ids, task_id=[0, 2])["prompt"]` is [2, 20, 512].

    Source: Lester et al. 2021, arXiv:2104.08691.
    """

    def __init__(
        self,
        shapes: Mapping[str, Sequence[int]],
        *,
        num_tasks: int | None = None,
        initial_values: Mapping[str, np.ndarray] | None = None,
        fold: Fold | None = None,
        frozen: Collection[str] = (),
        shared: Collection[str] = (),
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.shapes = {
            name: tuple(_positive(f"shapes[{name!r}]", size) for size in shape) for name, shape in shapes.items()
        }
        self.num_tasks = None if num_tasks is None else _positive("num_tasks", num_tasks)
        self.frozen, self.shared = tuple(frozen), tuple(shared)
        self._fold = fold
        # Made here and not in `build`, so that a table can be read and saved before it has seen a batch.
        self.variables_by_name = {
            name: self.add_weight(
                name=name,
                shape=self._full_shape(name),
                dtype="float32",
                initializer=self._initializer(name, initial_values),
                trainable=name not in self.frozen,
                autocast=False,  # cast after the batch's rows are taken, so that their gradients are summed in float32
            )
            for name in self.shapes
        }

        for name, variable in self.variables_by_name.items():
            setattr(variable, _HAS_TASK_AXIS, self.num_tasks is not None and name not in self.shared)

    def _full_shape(self, name: str) -> tuple[int, ...]:
        tasks = () if self.num_tasks is None or name in self.shared else (self.num_tasks,)
        return (*tasks, *self.shapes[name])

    def _initializer(self, name: str, values: Mapping[str, np.ndarray] | None) -> Any:
        if values is None:
            return keras.initializers.RandomUniform(-0.5, 0.5)
        if name not in values:
            raise PromptError(f"A method must draw first values for `{name}`. Received: {', '.join(values) or 'none'}.")
        value, shape = values[name], self._full_shape(name)
        if np.shape(value) != shape:
            raise PromptError(
                f"The initial value of `{name}` must have the shape {list(shape)}. Received: shape {list(np.shape(value))}."
            )
        return lambda shape, dtype: ops.convert_to_tensor(np.asarray(value, dtype=np.float32), dtype=dtype)

    def build(self, batch_like_shape: Sequence[int | None], task_id_shape: Sequence[int | None] | None = None) -> None:
        self.built = True

    def tensors(self) -> dict[str, Any]:
        """Return the tensors of all tasks as they are now, float32 [K, ...], or [...] where the table holds one task."""
        values = {name: ops.convert_to_tensor(variable) for name, variable in self.variables_by_name.items()}
        return dict(self._fold(values) if self._fold else values)

    def assign(self, values: Mapping[str, np.ndarray]) -> None:
        """Set the variables, each in its own shape."""
        for name, variable in self.variables_by_name.items():
            variable.assign(values[name])

    def call(self, batch_like: Any, task_id: Any = None) -> dict[str, Any]:
        if (task_id is None) != (self.num_tasks is None):
            raise PromptError(
                "`task_id` must be given where the table holds several tasks, and only there. "
                f"Received: task_id={task_id}, num_tasks={self.num_tasks}."
            )
        if task_id is None:
            zeros = _zero_per_row(batch_like)  # [B]
            rows = {
                name: value[None] if name in IN_COMMON else value[None] + _expanded(zeros, len(value.shape))
                for name, value in self.tensors().items()
            }
        else:
            rows = self._rows_of(ops.cast(task_id, "int32"))
        return {name: ops.cast(value, self.compute_dtype) for name, value in rows.items()}

    def _rows_of(self, task_id: Any) -> dict[str, Any]:
        is_known = ops.logical_and(task_id >= 0, task_id < self.num_tasks)  # [B]
        row = ops.where(is_known, task_id, 0)

        def rows(table: Any) -> Any:
            # Reshaping a variable makes its gradient dense; a gather from the variable itself would give IndexedSlices.
            taken = ops.take(ops.reshape(table, (self.num_tasks, -1)), row, axis=0)  # [B, ...] flat
            taken = ops.where(ops.expand_dims(is_known, 1), taken, float("nan"))
            return ops.reshape(taken, (-1, *table.shape[1:]))

        return {name: rows(table) for name, table in self.tensors().items()}

    def compute_output_spec(self, batch_like: Any, task_id: Any = None) -> dict[str, keras.KerasTensor]:
        shapes = {name: tuple(value.shape) for name, value in self.tensors().items()}
        skipped = 0 if self.num_tasks is None else 1
        return {
            name: keras.KerasTensor((batch_like.shape[0], *shape[skipped:]), dtype=self.compute_dtype)
            for name, shape in shapes.items()
        }

    def get_config(self) -> dict[str, Any]:
        shapes = {name: list(shape) for name, shape in self.shapes.items()}
        known = {"shapes": shapes, "num_tasks": self.num_tasks, "frozen": self.frozen, "shared": self.shared}
        return {**super().get_config(), **known}


def _positive(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise PromptError(f"`{name}` must be a positive integer. Received: {name}={value!r}.")
    return value


def _zero_per_row(batch_like: Any) -> Any:
    """Return float32 zeros [B], made from the batch, since its size is unknown in a functional model."""
    num_axes = len(batch_like.shape)
    first = batch_like[(slice(None), *[slice(0, 1)] * (num_axes - 1))]  # [B, 1, ...], or [B, 0, ...]
    return ops.sum(ops.zeros_like(first, dtype="float32"), axis=tuple(range(1, num_axes)))


def _expanded(zeros: Any, num_axes: int) -> Any:
    """[B] to [B, 1, ...] with so many axes of 1."""
    return ops.reshape(zeros, (-1, *[1] * num_axes))
