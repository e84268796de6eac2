"""The Adafactor of T5X, as prompt tuning sets it.

Shazeer and Stern 2018, arXiv:1804.04235. Keras's own Adafactor caps the rate at 1 / sqrt(step), always scales it by the
parameter's RMS and multiplies the weight decay by the rate, so it cannot express the recipe of Lester et al. 2021.
"""

from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from softprompt_tf.errors import ConfigError
from softprompt_tf.methods.task_table import has_task_axis

Tensor = Any
MIN_DIM_SIZE_TO_FACTOR = 128


@keras.saving.register_keras_serializable(package="softprompt_tf")
class Adafactor(keras.optimizers.Optimizer):
    """Adafactor with T5X's update rule: absolute step size, RMS clipping, weight decay apart from the rate.

    With step t = iterations + initial_step + 1 and gradient g:

        v <- (1 - t^-decay_rate) v + t^-decay_rate (g^2 + epsilon1)
        y  = g / sqrt(v);  y <- y / max(1, RMS(y) / clipping_threshold)
        p <- (1 - weight_decay_rate) p - learning_rate y

    A variable of rank 3 [K, P, H] is K independent prompts: factoring and RMS are taken per prompt, and a prompt whose
    gradient is completely zero (its task is not in the batch) keeps its value and its slots. A variable of another rank is
    treated exactly as T5X treats it. Where a `TaskTable` says that the first axis is that of tasks, whatever the rank is, each
    task moves as it would alone, and stays where its gradient is completely zero.

    Args:
      learning_rate: float or a Keras `LearningRateSchedule`. The RMS of the largest step. Default 0.3.
      decay_rate: float in (0, 1]. Exponent of the second moment's decay. Default 0.8.
      weight_decay_rate: float in [0, 1). Share of the value that each step takes away, not multiplied by the rate.
        Default 1e-5.
      clipping_threshold: float > 0. Largest RMS of y. Default 1.0.
      epsilon1: float. Added to the squared gradient. Default 1e-30.
      min_dim_size_to_factor: int. The second moment is kept as row and column means where the two largest dimensions
        are at least this long. Default 128, so a prompt of length 100 is not factored.
      initial_step: int >= 0. Steps that count as done. T5X restores the counter of the pretrained checkpoint
        (1,100,000 for the LM-adapted T5 1.1), which makes v nearly a plain sum and every update's RMS exactly the
        rate for tens of thousands of steps. Schedules do not see it. T5X's `step_offset` is minus this. Default 0.

    Examples:
      >>> import keras
      >>> schedule = keras.optimizers.schedules.CosineDecay(
      ...     0.0, decay_steps=380, warmup_target=1.0, warmup_steps=20
      ... )
      >>> optimizer = sp.Adafactor(schedule, weight_decay_rate=1e-5)

    Source: google-research/t5x:t5x/adafactor.py; google-research/prompt-tuning:
    prompt_tuning/configs/runs/prompt_finetune.gin.
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.3,
        *,
        decay_rate: float = 0.8,
        weight_decay_rate: float = 1e-5,
        clipping_threshold: float = 1.0,
        epsilon1: float = 1e-30,
        min_dim_size_to_factor: int = MIN_DIM_SIZE_TO_FACTOR,
        initial_step: int = 0,
        name: str = "adafactor",
        **kwargs: Any,
    ):
        _check_range("decay_rate", decay_rate, low=0.0, high=1.0)
        _check_range("clipping_threshold", clipping_threshold, low=0.0)
        if not 0 <= weight_decay_rate < 1:
            raise ConfigError(f"`weight_decay_rate` must lie in [0, 1). Received: {weight_decay_rate}.")
        if initial_step < 0:
            raise ConfigError(f"`initial_step` must not be negative. Received: initial_step={initial_step}.")
        if kwargs.get("weight_decay") is not None:
            raise ConfigError(
                "Adafactor decays weights by `weight_decay_rate`, which the learning rate does not multiply. Received: "
                f"weight_decay={kwargs['weight_decay']}. Pass weight_decay_rate=... instead."
            )
        super().__init__(learning_rate=_as_float(learning_rate), name=name, **kwargs)
        self.decay_rate = decay_rate
        self.weight_decay_rate = weight_decay_rate
        self.clipping_threshold = clipping_threshold
        self.epsilon1 = epsilon1
        self.min_dim_size_to_factor = min_dim_size_to_factor
        self.initial_step = initial_step

    def build(self, variables: list[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        # Of Keras's variables, as under TensorFlow a step gets others, which say nothing of tasks.
        self._axes = [_axes_of_one(tuple(variable.shape), has_task_axis(variable)) for variable in variables]
        self._slots = [self._add_slots(variable) for variable in variables]

    def update_step(self, gradient: Tensor, variable: Tensor, learning_rate: Tensor) -> None:
        gradient = ops.cast(gradient, "float32")
        value = ops.cast(ops.convert_to_tensor(variable), "float32")
        index = self._get_variable_index(variable)
        slots, axes = self._slots[index], self._axes[index]
        old_slots = [ops.convert_to_tensor(slot) for slot in slots]

        new_slots, update = self._second_moment(gradient, old_slots, axes)
        rms = ops.sqrt(ops.mean(ops.square(update), axis=axes, keepdims=True))
        update = update / ops.maximum(1.0, rms / self.clipping_threshold)
        new_value = (1.0 - self.weight_decay_rate) * value - ops.cast(learning_rate, "float32") * update

        num_in_front = len(gradient.shape) - len(axes)
        if num_in_front:
            has_gradient = ops.any(ops.not_equal(gradient, 0.0), axis=axes, keepdims=True)  # [K, 1, 1]
            new_value = ops.where(has_gradient, new_value, value)
            which = ops.reshape(has_gradient, gradient.shape[:num_in_front])  # [K]
            new_slots = [_where_prompt(which, new, old) for new, old in zip(new_slots, old_slots, strict=True)]
        for slot, new_slot in zip(slots, new_slots, strict=True):
            self.assign(slot, new_slot)
        self.assign(variable, ops.cast(new_value, variable.dtype))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        # Keras's own weight decay is multiplied by the rate; this class has none of it.
        config.pop("weight_decay", None)
        config.update(
            decay_rate=self.decay_rate,
            weight_decay_rate=self.weight_decay_rate,
            clipping_threshold=self.clipping_threshold,
            epsilon1=self.epsilon1,
            min_dim_size_to_factor=self.min_dim_size_to_factor,
            initial_step=self.initial_step,
        )
        return config

    def _add_slots(self, variable: keras.Variable) -> list[keras.Variable]:
        has_tasks = has_task_axis(variable)
        shapes = slot_shapes(tuple(variable.shape), self.min_dim_size_to_factor, has_tasks=has_tasks)
        name = getattr(variable, "path", variable.name).replace("/", "_")
        endings = ("v",) if len(shapes) == 1 else ("v_row", "v_col")
        return [
            self.add_variable(shape, dtype="float32", name=f"{name}_{ending}")
            for shape, ending in zip(shapes, endings, strict=True)
        ]

    def _second_moment(
        self, gradient: Tensor, slots: list[Tensor], axes: tuple[int, ...]
    ) -> tuple[list[Tensor], Tensor]:
        """Return the new slots and the gradient divided by the root of the second moment."""
        # 1 - beta2 is computed as it is: after a million steps, 1 - (1 - x) in float32 would be off by 0.4 %.
        step = ops.cast(self.iterations + self.initial_step + 1, "float32")
        mixing = ops.power(step, -self.decay_rate)
        squared = ops.square(gradient) + self.epsilon1
        factored = _factored_axes(tuple(gradient.shape), axes, self.min_dim_size_to_factor)
        if factored is None:
            v = (1.0 - mixing) * slots[0] + mixing * squared
            return [v], gradient * ops.rsqrt(v)
        row, column = factored
        v_row = (1.0 - mixing) * slots[0] + mixing * ops.mean(squared, axis=column)
        v_col = (1.0 - mixing) * slots[1] + mixing * ops.mean(squared, axis=row)
        row_in_v_row = row - (column < row)
        row_factor = ops.rsqrt(v_row / ops.mean(v_row, axis=row_in_v_row, keepdims=True))
        column_factor = ops.rsqrt(v_col)
        update = gradient * ops.expand_dims(row_factor, column) * ops.expand_dims(column_factor, row)
        return [v_row, v_col], update


def slot_shapes(
    shape: tuple[int, ...], min_dim_size_to_factor: int = MIN_DIM_SIZE_TO_FACTOR, *, has_tasks: bool = False
) -> list[tuple[int, ...]]:
    """Return the shapes of a variable's slots: its own shape, or where it is factored those of rows and of columns."""
    factored = _factored_axes(shape, _axes_of_one(shape, has_tasks), min_dim_size_to_factor)
    if factored is None:
        return [shape]
    row, column = factored
    return [_without(shape, column), _without(shape, row)]


def _axes_of_one(shape: tuple[int, ...], has_tasks: bool) -> tuple[int, ...]:
    """Return the axes of what moves by itself: a prompt [P, H], or all of a variable. Those in front of them number such."""
    if has_tasks:
        return tuple(1 + axis for axis in _axes_of_one(shape[1:], False))
    return (1, 2) if len(shape) == 3 else tuple(range(len(shape)))


def _factored_axes(shape: tuple[int, ...], axes: tuple[int, ...], min_size: int) -> tuple[int, int] | None:
    """Return the axes (row, column) of the second largest and the largest dimension among `axes`, or None."""
    if len(axes) < 2:
        return None
    row, column = sorted(axes, key=lambda axis: shape[axis])[-2:]
    return (row, column) if shape[row] >= min_size else None


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]


def _where_prompt(has_gradient: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Choose per prompt by flags [K]; a slot is [K, P, H] or, factored, [K, P] and [K, H]."""
    missing = len(new.shape) - len(has_gradient.shape)
    return ops.where(ops.reshape(has_gradient, (*has_gradient.shape, *[1] * missing)), new, old)


def _as_float(learning_rate: float | LearningRateSchedule) -> float | LearningRateSchedule:
    return float(learning_rate) if isinstance(learning_rate, int) else learning_rate


def _check_range(name: str, value: float, *, low: float, high: float = float("inf")) -> None:
    if not low < value <= high:
        raise ConfigError(f"`{name}` must be above {low:g} and at most {high:g}. Received: {name}={value}.")
