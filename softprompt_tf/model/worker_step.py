"""A training step of several workers: each has a part of the batch, and the gradient is that of the complete batch."""

from typing import TYPE_CHECKING, Any

import keras

from softprompt_tf.errors import TrainingError

if TYPE_CHECKING:
    from softprompt_tf.workers.collectives import Collectives


def check_trains_on_workers(model: keras.Model) -> None:
    """Refuse what several workers cannot train together.

    Raises:
      TrainingError: for a search for pieces of the vocabulary, another loss than a mean over target tokens, a T5 with dropout or on
        several devices, XLA, or several replicas.
    """
    if hasattr(model.optimizer, "own_callback"):
        raise _refusal("an optimizer that takes steps", type(model.optimizer).__name__, "Train it in one process")
    losses = keras.tree.flatten(model.loss)
    if len(losses) != 1 or not hasattr(losses[0], "weight_of"):
        raise _refusal("the one loss TargetCrossEntropy", f"loss={model.loss!r}", "Use it")
    if model.t5.dropout:
        hint = "Load it without: `load_t5(..., dropout=0.0)`"
        raise _refusal("a T5 without dropout", f"a backbone with dropout={model.t5.dropout:g}", hint)
    if model.jit_compile is True:
        raise _refusal("steps without XLA", "jit_compile=True", "Compile with jit_compile=False")
    if model.t5.placement is not None:
        names = ", ".join(model.t5.placement.devices)
        raise _refusal("a complete T5 each", f"a T5 on {names}", "Load it without `devices`")
    if model.distribute_strategy.num_replicas_in_sync > 1:
        hint = "Start one worker for each device"
        raise _refusal("one device each", f"{model.distribute_strategy.num_replicas_in_sync} replicas", hint)


def _refusal(rule: str, received: str, hint: str) -> TrainingError:
    return TrainingError(f"Several workers need {rule}. Received: {received}. {hint}.")


def worker_step(model: keras.Model, data: Any, workers: "Collectives") -> Any:
    """Train on a worker's rows; all workers end the step with the same values.

    A worker's loss is its share of the mean over the target tokens of all, so that the sum of the gradients is the gradient of the
    batch. Nothing is changed before that sum is there.
    """
    import tensorflow as tf

    workers.bytes_in_sums = 0  # Keras traces a step more than once
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    with tf.GradientTape() as tape:
        predictions = model(x, training=True)
        loss = model.compute_loss(x=x, y=y, y_pred=predictions, sample_weight=sample_weight, training=True)
        scaled = model.optimizer.scale_loss(loss)
    model._loss_tracker.update_state(loss)  # Keras has no public name for it
    gradients = workers.sum_all(tape.gradient(scaled, model.trainable_weights))
    model.optimizer.apply_gradients(zip(gradients, model.trainable_weights, strict=True))
    return model.compute_metrics(x, y, predictions, sample_weight=sample_weight)
