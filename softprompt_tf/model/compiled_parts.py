"""What `compile` of a `TrainedModel` puts in the place of Keras's own: the mean of the losses, and metrics by name."""

import threading
from collections.abc import Callable
from typing import Any

import keras

from softprompt_tf.backbones.passes.placed import Placement
from softprompt_tf.errors import ConfigError, DataError, TrainingError
from softprompt_tf.model.averaged_values import ValidateAverage, keeps_average
from softprompt_tf.model.token_metrics import METRICS, LabelAccuracy
from softprompt_tf.replicas import num_replicas, sum_of_shares
from softprompt_tf.typing import Tensor


def check_runs_on_devices(placement: Placement | None, *, jit_compile: bool, num_replicas: int) -> None:
    """Refuse what a T5 that is laid over several devices cannot be trained with.

    Raises:
      TrainingError: for XLA, which compiles for one device, and for several replicas.
    """
    if placement is None:
        return
    names = ", ".join(placement.devices)
    if jit_compile:
        raise TrainingError(
            f"XLA compiles for one device. Received: jit_compile=True for a T5 on {names}. Leave jit_compile out."
        )
    if num_replicas > 1:
        raise TrainingError(
            f"A strategy puts a copy of the T5 on each device. Received: {num_replicas} replicas for one on {names}. Load it "
            "without `devices`, or train without a strategy."
        )


def check_runs_on_replicas(strategy: Any, optimizer: Any, *, steps_per_execution: int) -> None:
    """Refuse what Keras cannot do with the replicas of a `MirroredStrategy`: it ends in words about its graph.

    Raises:
      TrainingError: for accumulated gradients, and for several steps in one call.
    """
    import tensorflow as tf

    num_replicas = strategy.num_replicas_in_sync
    if num_replicas == 1 or isinstance(strategy, tf.distribute.TPUStrategy):
        return
    settings = {
        "gradient_accumulation_steps": getattr(optimizer, "gradient_accumulation_steps", None) or 1,
        "steps_per_execution": steps_per_execution,
    }
    for name, value in settings.items():
        if value > 1:
            raise TrainingError(
                f"Keras takes each step of several replicas alone. Received: {name}={value} and {num_replicas} replicas. Leave "
                f"{name} out, or train on one device."
            )


def check_can_recompute(t5_dropout: float) -> None:
    """Refuse gradient checkpointing of a T5 that drops, whose second run would drop other values; a TrainingError."""
    if t5_dropout:
        raise TrainingError(
            "Gradient checkpointing needs a T5 without dropout. Received: a backbone with "
            f"dropout={t5_dropout:g}. Load it without: `load_t5(..., dropout=0.0)`."
        )


class MeanLoss(keras.metrics.Mean):
    """The mean of the batches' losses, each weighted by what the loss itself is a mean of, such as target tokens.

    Attributes:
      weights: `weights.next` is the weight of the loss that comes next, in this thread; a replica has a thread of its own.
    """

    def __init__(self, name: str = "loss"):
        super().__init__(name=name)
        self.weights = threading.local()

    def update_state(self, values: Tensor, sample_weight: Tensor | None = None) -> None:
        weight = getattr(self.weights, "next", None)
        if weight is None:
            super().update_state(values, sample_weight=sample_weight)
            return
        self.weights.next = None
        # Each replica keeps an equal part, so that each alone has the right mean too.
        super().update_state(sum_of_shares(values), sample_weight=weight / num_replicas())


def with_own_callback(model: keras.Model, x: Any, callbacks: Any) -> Any:
    """Return the callbacks of `fit`, after that of an optimizer with one of its own: `AutoPrompt`, `ScheduleFreeAdam`.

    Args:
      model: the compiled model.
      x: what it is trained on.
      callbacks: those of the caller.

    Raises:
      TrainingError: if the optimizer cannot train this model on these data, or the callbacks are a `CallbackList`.
    """
    make = getattr(model.optimizer, "own_callback", None)
    if make is None and keeps_average(model.optimizer):
        make = _validate_average
    if make is None:
        return callbacks
    if isinstance(callbacks, keras.callbacks.CallbackList):
        raise TrainingError(
            f"{type(model.optimizer).__name__} adds a callback to those of `fit`. Received: a CallbackList. Pass a list."
        )
    return [make(model, x), *(keras.tree.flatten(callbacks) if callbacks else ())]


def _validate_average(model: keras.Model, x: Any) -> keras.callbacks.Callback:
    return ValidateAverage()


def check_needs_no_fit(optimizer: Any) -> None:
    """Refuse an optimizer that needs a callback, where no callbacks run; a TrainingError."""
    if hasattr(optimizer, "own_callback"):
        raise TrainingError(
            f"{type(optimizer).__name__} searches over several batches. Received: a call of train_on_batch. Use fit."
        )


def check_has_targets(targets: Any) -> None:
    """Refuse token dictionaries without targets; a DataError."""
    if targets is None:
        raise DataError("Token dictionaries need targets beside them. Received: none. Pass `y`, their ids int [B, U].")


def check_is_not_scaled(optimizer: Any) -> None:
    """Refuse a `LossScaleOptimizer` around an optimizer that needs `fit` to work with it, which it would hide.

    Raises:
      TrainingError: with both.
    """
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is not None and (hasattr(inner, "own_callback") or keeps_average(inner)):
        raise TrainingError(
            f"{type(inner).__name__} needs no scaling of the loss, as a T5 does not compute in float16. Received: it in a "
            f"{type(optimizer).__name__}. Pass it alone."
        )


def check_loss(loss: Any) -> None:
    """Refuse a loss by name, and the class of one.

    Raises:
      ConfigError: with the loss to use.
    """
    for each in keras.tree.flatten(loss):
        if isinstance(each, type):
            raise ConfigError(f"A loss must be made first. Received: the class {each.__name__}. Use {each.__name__}().")
    if any(isinstance(each, str) for each in keras.tree.flatten(loss)):
        raise ConfigError(
            "Losses of Keras by name take probabilities and count padding; this model gives logits. "
            f"Received: loss={loss!r}. Use TargetCrossEntropy()."
        )


def known_metrics(metrics: Any, give_labels: Callable[[LabelAccuracy], None]) -> Any:
    """Put this library's metrics in the place of their names, in any form that `compile` takes metrics in.

    Args:
      metrics: a name, a metric, or a list or dictionary of such.
      give_labels: gives a label accuracy the model's labels.

    Raises:
      ConfigError: for another metric by name.
    """
    if isinstance(metrics, dict):
        return {name: known_metrics(metric, give_labels) for name, metric in metrics.items()}
    if isinstance(metrics, (list, tuple)):
        return [known_metrics(metric, give_labels) for metric in metrics]
    if isinstance(metrics, str):
        if metrics.lower() not in METRICS:
            raise ConfigError(
                f"Metrics by name must be among {', '.join(METRICS)}: Keras's own count padding. Received: {metrics!r}. "
                "Pass a keras.metrics.Metric where you know that it fits. Written answers are scored after the training: "
                "`softprompt_tf.tasks.compute_metrics`."
            )
        metrics = METRICS[metrics.lower()](name=metrics)
    if isinstance(metrics, type):
        metrics = metrics()  # as Keras does
    if isinstance(metrics, LabelAccuracy):
        give_labels(metrics)
    return metrics
