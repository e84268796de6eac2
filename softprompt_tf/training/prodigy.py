"""Prodigy: Adam that estimates its own rate from how far the values have moved and what the gradients say about it.

Mishchenko and Defazio 2023, "Prodigy: An Expeditiously Adaptive Parameter-Free Learner", arXiv:2306.06101.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from softprompt_tf.errors import ConfigError
from softprompt_tf.typing import Tensor

_SLOTS = ("first_value", "weighted_sum", "mean", "mean_square")  # p0, s, m and v
_OWN_SETTINGS = (
    "beta_1",
    "beta_2",
    "beta_3",
    "epsilon",
    "use_bias_correction",
    "safeguard_warmup",
    "d0",
    "d_coef",
    "growth_rate",
)


@keras.saving.register_keras_serializable(package="softprompt_tf")
class Prodigy(keras.optimizers.Optimizer):
    """Adam whose rate is `learning_rate` times d, an estimate of the distance to the solution that only grows.

    With gradient g at p, first value p0, rate r, z = r d (or d, see `safeguard_warmup`), and sums over all variables together:

        n <- beta_3 n + (d / d0) r d <g, p0 - p>
        s <- beta_3 s + (d / d0) z g
        m <- beta_1 m + (1 - beta_1) d g;  v <- beta_2 v + (1 - beta_2) d^2 g^2
        d' = max(d, d_coef n / |s|_1), at most growth_rate times d
        p <- p - r d (m / (sqrt(v) + d' epsilon) + weight_decay p);  d <- d'

    A step whose rate is 0 changes nothing. Several tasks of one run share d. The optimizer keeps p0, so give another prompt a
    new optimizer. It needs four values for each one that is trained.

    Args:
      learning_rate: float or a Keras `LearningRateSchedule`. A factor of the rate that it finds; 1.0, or a schedule that falls
        from there, is what the paper has. Default 1.0.
      beta_1: float in (0, 1). Decay of the first moment. Default 0.9.
      beta_2: float in (0, 1). Decay of the second moment. Default 0.999.
      beta_3: float in (0, 1) or None. Decay of the sums that d is made of. Default None, the root of `beta_2`.
      epsilon: float > 0. Added to the root of the second moment. Default 1e-8.
      weight_decay: float >= 0. Share of the value that a step takes away, multiplied by its rate, as in AdamW. Default 0.
      use_bias_correction: bool. Whether the rate has Adam's corrections of both moments. Default False.
      safeguard_warmup: bool. Take the rate out of |s|_1, so that a warm-up does not make d too large. Default False.
      d0: float > 0. The first d. Default 1e-6.
      d_coef: float > 0. Makes d larger or smaller: the paper's way to tune it. Default 1.0.
      growth_rate: float > 1. How many times larger d may become in a step. Default inf.

    Attributes:
      d: keras.Variable. The estimate up to now, once the optimizer is built.

    Examples:
      >>> import keras
      >>> schedule = keras.optimizers.schedules.CosineDecay(1.0, decay_steps=400)
      >>> optimizer = sp.training.Prodigy(schedule)

    Source: algorithm 4 of the paper; konstmish/prodigy:prodigyopt/prodigy.py, from which `decouple=False` (weight decay in the
    gradient), `slice_p` (d from a part of the values) and groups of parameters are left out.
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 1.0,
        *,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        beta_3: float | None = None,
        epsilon: float = 1e-8,
        weight_decay: float | None = None,
        use_bias_correction: bool = False,
        safeguard_warmup: bool = False,
        d0: float = 1e-6,
        d_coef: float = 1.0,
        growth_rate: float = math.inf,
        name: str = "prodigy",
        **kwargs: Any,
    ):
        super().__init__(learning_rate=learning_rate, name=name, weight_decay=weight_decay, **kwargs)
        self.beta_1, self.beta_2 = beta_1, beta_2
        self.beta_3 = math.sqrt(max(beta_2, 0.0)) if beta_3 is None else beta_3
        self.epsilon, self.d0, self.d_coef, self.growth_rate = epsilon, d0, d_coef, growth_rate
        self.use_bias_correction, self.safeguard_warmup = use_bias_correction, safeguard_warmup
        self._check_settings()
        self._pass = 0

    def build(self, variables: list[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._slots = [
            {name: self.add_variable(variable.shape, dtype="float32", name=name) for name in _SLOTS}
            for variable in variables
        ]
        first = keras.initializers.Constant(self.d0)
        self.d, self._largest_d = (self._scalar(name, first) for name in ("d", "largest_d"))
        names = ("numerator", "added_numerator", "denominator", "steps", "step_size")
        self._numerator, self._added, self._denominator, self._steps, self._step_size = map(self._scalar, names)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **{name: getattr(self, name) for name in _OWN_SETTINGS}}

    # === One step, in three passes ===

    def _backend_update_step(
        self, grads: Sequence[Tensor], trainable_variables: Sequence[keras.Variable], learning_rate: Tensor
    ) -> None:
        # d is of all variables together, so all are looked at before one moves. Each pass is Keras's loop over `update_step`;
        # replicas sum their gradients at its begin, so they do it for each pass.
        for self._pass, count in ((0, len(grads)), (1, 1), (2, len(grads))):
            super()._backend_update_step(grads[:count], trainable_variables[:count], learning_rate)

    def update_step(self, gradient: Tensor, variable: keras.Variable, learning_rate: Tensor) -> None:
        rate = ops.cast(learning_rate, "float32")
        if self._pass == 1:
            self._estimate(rate)
            return
        slots = self._slots[self._get_variable_index(variable)]
        value = ops.cast(ops.convert_to_tensor(variable), "float32")
        if self._pass == 0:
            self._look(ops.cast(gradient, "float32"), value, slots, rate)
        else:
            self._move(variable, value, slots)

    def _look(self, gradient: Tensor, value: Tensor, slots: dict[str, keras.Variable], rate: Tensor) -> None:
        """Take a gradient into the moments and the sums."""
        d, is_active = ops.convert_to_tensor(self.d), rate > 0.0
        size = rate * d * self._correction()
        old = {name: ops.convert_to_tensor(slot) for name, slot in slots.items()}
        is_first = ops.equal(self._steps, 0.0)
        first = ops.where(is_first, value, old["first_value"])  # the prompt may be set after `build`
        weight = d / self.d0
        new = {
            "first_value": first,
            "weighted_sum": self.beta_3 * old["weighted_sum"]
            + weight * (d if self.safeguard_warmup else size) * gradient,
            "mean": self.beta_1 * old["mean"] + (1.0 - self.beta_1) * d * gradient,
            "mean_square": self.beta_2 * old["mean_square"] + (1.0 - self.beta_2) * ops.square(d * gradient),
        }
        added = weight * size * ops.sum(gradient * (first - value))
        for name, slot in slots.items():
            self.assign(slot, ops.where(is_active, new[name], old[name]))
        self.assign_add(self._added, ops.where(is_active, added, 0.0))
        self.assign_add(self._denominator, ops.where(is_active, ops.sum(ops.abs(new["weighted_sum"])), 0.0))

    def _estimate(self, rate: Tensor) -> None:
        """Make d of the sums, and the step's size of the d before."""
        scalars = (self.d, self._largest_d, self._numerator, self._added, self._denominator, self._steps)
        d, largest, numerator, added, denominator, steps = map(ops.convert_to_tensor, scalars)
        is_active = denominator > 0.0  # not at a rate of 0, nor before the first gradient

        new_numerator = self.beta_3 * numerator + added
        found = self.d_coef * ops.divide_no_nan(new_numerator, denominator)
        new_largest = ops.maximum(largest, found)
        is_at_start = ops.equal(d, ops.cast(self.d0, "float32"))
        new_d = ops.minimum(new_largest, ops.where(is_at_start, ops.maximum(d, found), d) * self.growth_rate)

        self.assign(self._step_size, ops.where(is_active, rate * d * self._correction(), 0.0))
        self.assign(self.d, ops.where(is_active, new_d, d))
        self.assign(self._largest_d, ops.where(is_active, new_largest, largest))
        self.assign(self._numerator, ops.where(is_active, new_numerator, numerator))
        self.assign(self._steps, ops.where(is_active, steps + 1.0, steps))
        for variable in (self._added, self._denominator):
            self.assign(variable, 0.0)

    def _move(self, variable: keras.Variable, value: Tensor, slots: dict[str, keras.Variable]) -> None:
        """Take the step; its size is 0 where nothing is to change."""
        mean, square = ops.convert_to_tensor(slots["mean"]), ops.convert_to_tensor(slots["mean_square"])
        direction = mean / (ops.sqrt(square) + self.d * self.epsilon)
        if self.weight_decay and self._use_weight_decay(variable):
            direction = direction + self.weight_decay * value
        self.assign(variable, ops.cast(value - self._step_size * direction, variable.dtype))

    def _apply_weight_decay(self, variables: Sequence[keras.Variable]) -> None:
        """Do nothing: `_move` decays, by a rate that Keras does not know."""

    def _correction(self) -> Tensor | float:
        if not self.use_bias_correction:
            return 1.0
        step = self._steps + 1.0
        # 1 - beta^step, which loses 4 digits in float32 where the two are subtracted.
        first, second = (-ops.expm1(step * math.log(beta)) for beta in (self.beta_1, self.beta_2))
        return ops.sqrt(second) / first

    def _check_settings(self) -> None:
        """Refuse settings that make no step; a ConfigError."""
        for name in ("beta_1", "beta_2", "beta_3"):
            if not 0 < (value := getattr(self, name)) < 1:
                raise ConfigError(f"`{name}` must be above 0 and below 1. Received: {name}={value}.")
        for name in ("epsilon", "d0", "d_coef"):
            if not (value := getattr(self, name)) > 0:
                raise ConfigError(f"`{name}` must be above 0. Received: {name}={value}.")
        if self.weight_decay is not None and self.weight_decay < 0:
            raise ConfigError(f"`weight_decay` must be 0 or above. Received: weight_decay={self.weight_decay}.")
        if not self.growth_rate > 1:
            raise ConfigError(f"`growth_rate` must be above 1. Received: growth_rate={self.growth_rate}.")

    def _scalar(self, name: str, initializer: Any = "zeros") -> keras.Variable:
        return self.add_variable((), initializer=initializer, dtype="float32", name=name)
