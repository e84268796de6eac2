"""Schedule-free Adam: a steady rate and an average of all steps, in the place of a rate that falls.

Defazio et al. 2024, "The Road Less Scheduled", arXiv:2405.15682. Keras's own `ScheduleFreeAdamW` (3.15) weighs the steps
of a warm-up like all others, and leaves the training's values in the model where the average belongs.
"""

from typing import Any

import keras
import numpy as np
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from softprompt_tf.errors import ConfigError
from softprompt_tf.typing import Tensor


@keras.saving.register_keras_serializable(package="softprompt_tf")
class ScheduleFreeAdam(keras.optimizers.Optimizer):
    """Adam's steps z, their average x, and gradients at y between the two; good at any step, without a last one.

    With step t from 1 on, gradient g at y, s = learning_rate sqrt(1 - beta_2^t), and x = y = z before the first step:

        v <- beta_2 v + (1 - beta_2) g^2
        z <- z - s g / (sqrt(v) + epsilon)
        x <- (1 - c) x + c z,  where c is s^2 over the sum of s^2 up to now
        y <- (1 - beta_1) z + beta_1 x

    The model holds y while it is trained, and x at the end of `fit`. `fit` and `train_prompt` score x. A loop of your
    own puts x into the model by `optimizer.finalize_variable_values(model.trainable_variables)`, and y back by
    `resume_variable_values`. The optimizer keeps x and z, so give another prompt a new optimizer.

    Args:
      learning_rate: float or a Keras `LearningRateSchedule`. Steady after a warm-up. Default 0.0025.
      beta_1: float in (0, 1). How near y is to the average. Default 0.9.
      beta_2: float in (0, 1). Decay of the second moment. Default 0.999.
      epsilon: float. Added to the root of the second moment. Default 1e-8.

    Examples:
      >>> optimizer = sp.training.ScheduleFreeAdam(0.3)

    Source: algorithm 1 of the paper, without weight decay; facebookresearch/schedule_free:
    schedulefree/adamw_schedulefree.py.
    """

    keeps_average = True

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.0025,
        *,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        name: str = "schedule_free_adam",
        **kwargs: Any,
    ):
        for setting, value in (("beta_1", beta_1), ("beta_2", beta_2)):
            if not 0 < value < 1:
                raise ConfigError(f"`{setting}` must be above 0 and below 1. Received: {setting}={value}.")
        if refused := [key for key in ("weight_decay", "use_ema") if kwargs.get(key)]:
            raise ConfigError(
                "ScheduleFreeAdam has an average of its own and no weight decay. "
                f"Received: {refused[0]}={kwargs[refused[0]]}. Leave it out."
            )
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def build(self, variables: list[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._points, self._averages, self._velocities = self.add_optimizer_variables(
            variables, ["point", "average", "velocity"]
        )
        self._weight_sums = [self.add_variable((), dtype="float32", name="weight_sum") for _ in variables]

    def update_step(self, gradient: Tensor, variable: Tensor, learning_rate: Tensor) -> None:
        index = self._get_variable_index(variable)
        slots = (self._points[index], self._averages[index], self._velocities[index], self._weight_sums[index])
        z, x, v, weight_sum = (ops.cast(ops.convert_to_tensor(slot), "float32") for slot in slots)
        value, gradient = (ops.cast(ops.convert_to_tensor(each), "float32") for each in (variable, gradient))
        rate, step = ops.cast(learning_rate, "float32"), ops.cast(self.iterations + 1, "float32")
        z, x = (ops.where(step <= 1.0, value, each) for each in (z, x))  # the prompt may be set after `build`

        v = self.beta_2 * v + (1.0 - self.beta_2) * ops.square(gradient)
        rate = rate * ops.sqrt(1.0 - ops.power(self.beta_2, step))
        z = z - rate * gradient / (ops.sqrt(v) + self.epsilon)
        weight = ops.square(rate)
        weight_sum = weight_sum + weight
        share = ops.where(weight_sum > 0.0, ops.divide_no_nan(weight, weight_sum), 1.0)
        x = (1.0 - share) * x + share * z

        for slot, new in zip((*slots, variable), (z, x, v, weight_sum, self._between(z, x)), strict=True):
            self.assign(slot, ops.cast(new, slot.dtype))

    def finalize_variable_values(self, var_list: list[keras.Variable]) -> None:
        """Put the average x into the model's variables; Keras's `fit` does it at its end."""
        if self._has_stepped():
            for variable in var_list:
                variable.assign(self._averages[self._get_variable_index(variable)].numpy())

    def resume_variable_values(self, var_list: list[keras.Variable]) -> None:
        """Put y back where variables hold the average x, as they do after `fit`; other values stay. `fit` does it as it begins."""
        if not self._has_stepped():
            return
        for variable in var_list:
            index = self._get_variable_index(variable)
            z, x = self._points[index].numpy(), self._averages[index].numpy()
            if np.array_equal(variable.numpy(), x):
                z, x = (ops.cast(ops.convert_to_tensor(each), "float32") for each in (z, x))
                variable.assign(ops.cast(self._between(z, x), variable.dtype))

    def _between(self, z: Tensor, x: Tensor) -> Tensor:
        return (1.0 - self.beta_1) * z + self.beta_1 * x

    def _has_stepped(self) -> bool:
        # The first variable counts batches, of which a step may take several.
        return self.built and int(self.variables[0].numpy()) >= (self.gradient_accumulation_steps or 1)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("weight_decay", None)
        return {**config, "beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
