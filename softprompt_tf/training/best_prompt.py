"""Score the prompt on the dev split every few steps, and keep the best one.

Lester et al. 2021, arXiv:2104.08691, section 3: the prompt is chosen by early stopping on the dev split, by the task's
metric or, where a task has several, by their mean.
"""

import dataclasses
import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np

from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.model.averaged_values import averaged_values, put_average
from softprompt_tf.training.callbacks import Logs, check_finite, is_due, steps_done

Evaluate = Callable[[], dict[str, float]]
OnBest = Callable[[Any, dict[str, float]], None]


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One look at the dev split: the step, the mean of the metrics (a task's first, then the tasks), and the metrics."""

    step: int
    score: float
    metrics: dict[str, float]


@dataclasses.dataclass(frozen=True)
class BestSoFar:
    """What is known of the dev split up to now; a new value replaces the old one as a whole.

    Attributes:
      score: the best mean of metrics, None before the first evaluation.
      step: the step of that score.
      weights: the trainable variables' values at that step; with plain prompt tuning, the prompt [P, H] alone.
      evaluations_without_gain: how many evaluations in a row have not beaten `score`.
      history: every evaluation, oldest first.
    """

    score: float | None = None
    step: int | None = None
    weights: tuple[np.ndarray, ...] = ()
    evaluations_without_gain: int = 0
    history: tuple[Evaluation, ...] = ()

    def has_scored(self, step: int) -> bool:
        return any(evaluation.step == step for evaluation in self.history)

    def after(self, step: int, metrics: dict[str, float], variables: Iterable[keras.Variable]) -> "BestSoFar":
        """Return the state with one more evaluation; of equal scores the earlier one stays, and NaN never wins.

        The values of `variables`, which are trained, are copied where the score is a gain.
        """
        evaluation = Evaluation(step=step, score=mean_score(metrics), metrics=metrics)
        history = (*self.history, evaluation)
        if math.isnan(evaluation.score) or (self.score is not None and evaluation.score <= self.score):
            waited = self.evaluations_without_gain + 1
            return dataclasses.replace(self, evaluations_without_gain=waited, history=history)
        weights = tuple(np.array(variable.numpy()) for variable in variables)
        return BestSoFar(score=evaluation.score, step=step, weights=weights, history=history)


class KeepBestPrompt(keras.callbacks.Callback):
    """Score the dev split every few steps and end the training with the prompt that did best.

    Adds `val_score` and `val_<metric>` to the logs of the steps that were scored, for the callbacks after it.

    Args:
      evaluate: Callable or None. Scores the model as it is now: metric names to values, higher is better. With None nothing is
        scored, and the last weights stay.
      every_steps: int. Steps between two evaluations. The last step is scored in any case.
      on_best: Callable or None. Is handed what is trained and the metrics at each gain: the value of the one trainable
        variable, such as a prompt, or a tuple of several.
      patience: int or None. Stop after so many evaluations in a row without gain. Default None, never.
      last_step: int or None. A step that is scored besides. Default None.

    Attributes:
      best: BestSoFar. The state, which a checkpoint takes along.
    """

    def __init__(
        self,
        evaluate: Evaluate | None,
        *,
        every_steps: int,
        on_best: OnBest | None = None,
        patience: int | None = None,
        last_step: int | None = None,
    ):
        super().__init__()
        if every_steps < 1:
            raise ConfigError(f"`every_steps` must be at least 1. Received: every_steps={every_steps}.")
        if patience is not None and patience < 1:
            raise ConfigError(f"`patience` must be at least 1 or None. Received: patience={patience}.")
        self.best = BestSoFar()
        self._evaluate = evaluate
        self._every_steps = every_steps
        self._on_best = on_best
        self._patience = patience
        self._last_step = last_step
        self._previous = 0

    @property
    def is_exhausted(self) -> bool:
        """Whether `patience` evaluations in a row brought no gain."""
        return self._patience is not None and self.best.evaluations_without_gain >= self._patience

    def on_train_begin(self, logs: Logs = None) -> None:
        self._previous = steps_done(self.model)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        step = steps_done(self.model)
        if is_due(self._previous, step, self._every_steps) or step == self._last_step:
            self._score(step)
            if logs is not None and self.best.has_scored(step):
                evaluation = self.best.history[-1]
                logs["val_score"] = evaluation.score
                logs.update({f"val_{name}": value for name, value in evaluation.metrics.items()})
        self._previous = step
        if self.is_exhausted:
            self.model.stop_training = True

    def on_train_end(self, logs: Logs = None) -> None:
        step = steps_done(self.model)
        if not self.best.has_scored(step):
            self._score(step)
        self.restore_best()

    def catch_up(self) -> None:
        """Score the step that a resumed run stands at, if the run was killed while it was being scored."""
        step = steps_done(self.model)
        is_last = self._last_step is not None and step >= self._last_step
        is_wanted = step > 0 and (step % self._every_steps == 0 or is_last)
        if is_wanted and not self.best.has_scored(step):
            self._score(step)

    def restore_best(self) -> None:
        """Put the best weights into the model's trainable variables; without evaluations, the optimizer's average, if any."""
        if not self.best.weights:
            put_average(self.model)
        for variable, value in zip(self.model.trainable_variables, self.best.weights, strict=False):
            variable.assign(value)

    def _score(self, step: int) -> None:
        check_finite(self.model)
        if self._evaluate is None:
            return
        with averaged_values(self.model):
            metrics = {name: float(value) for name, value in self._evaluate().items()}
            if not metrics:
                raise TrainingError("`evaluate` must return at least one metric. Received: an empty dictionary.")
            self.best = self.best.after(step, metrics, self.model.trainable_variables)
        if self._on_best is not None and self.best.step == step:
            weights = self.best.weights
            self._on_best(weights[0] if len(weights) == 1 else weights, metrics)


def mean_score(metrics: Mapping[str, float]) -> float:
    """Average the metrics of each task first, then the tasks.

    Args:
      metrics: by name; "task/metric" where there are several tasks. At least one.

    Source: Lester et al. 2021, arXiv:2104.08691, section 3 (several metrics of a task are averaged).
    """
    tasks: dict[str, list[float]] = {}
    for name, value in metrics.items():
        tasks.setdefault(name.rpartition("/")[0], []).append(value)
    return statistics.fmean(statistics.fmean(values) for values in tasks.values())
