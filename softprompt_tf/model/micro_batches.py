"""A training step on a batch whose rows are run a few at a time: the gradient of the whole batch in the memory of a few rows.

The loss is a mean over target tokens. Each part's gradient is weighted by its share of them, so that the sum is the gradient that
the whole batch would give, also where parts have different numbers of tokens. Keras's own `gradient_accumulation_steps` gives every
batch the same weight.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.keras_backend import require_tensorflow
from softprompt_tf.model.token_metrics import per_position
from softprompt_tf.typing import Tensor
from softprompt_tf.workers.cluster import joined, own_part


def checked_micro_batch_size(
    value: Any, *, prompt_dropout: float, jit_compile: bool, num_replicas: int, t5_dropout: float
) -> int | None:
    """Return how many rows run at a time, None for all.

    Raises:
      ConfigError: if it is no whole number above 0.
      TrainingError: with what it does not go together with.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ConfigError(
            f"`micro_batch_size` must be a whole number above 0, or None. Received: micro_batch_size={value!r}."
        )
    require_tensorflow("Micro-batches")
    conflicts = {
        "prompt dropout, which draws for the rows of a batch": bool(prompt_dropout),
        "a T5 with dropout": bool(t5_dropout),
        "jit_compile=True": jit_compile,
        f"{num_replicas} replicas": num_replicas > 1,
    }
    for words, is_there in conflicts.items():
        if is_there:
            raise TrainingError(
                f"Micro-batches and {words.partition(',')[0]} do not go together. Received: micro_batch_size={value} and {words}. "
                "Leave one of them out."
            )
    return int(value)


def train_step_by_parts(model: keras.Model, data: Any, rows: int) -> dict[str, Tensor]:
    """Take one optimizer's step on a batch, `rows` of its rows at a time; return the metrics as `train_step` does.

    Args:
      model: a compiled model.
      data: the batch, as `train_step` takes it.
      rows: of a part; the last one may have fewer.

    Raises:
      TrainingError: where several workers share the batch.
    """
    import tensorflow as tf

    if joined() is not None:
        raise TrainingError(
            f"Micro-batches run in one process. Received: micro_batch_size={rows} and {own_part()[1]} workers, each of which has "
            "a part of the batch already. Leave micro_batch_size out."
        )
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    whole = (x, y, per_position(sample_weight))
    total, count = _weight(model, whole), ops.shape(y)[0]
    weights = model.trainable_weights

    def part(start: Tensor, *gradients: Tensor) -> tuple[Tensor, ...]:
        own = keras.tree.map_structure(lambda value: None if value is None else value[start : start + rows], whole)
        share = ops.divide_no_nan(_weight(model, own), total)
        found = _gradients(model, own, weights, share)
        return start + rows, *(old + new for old, new in zip(gradients, found, strict=True))

    # One part after the other: they would all be in memory at once where they ran side by side.
    zeros = [ops.zeros_like(weight) for weight in weights]
    _, *gradients = tf.while_loop(
        lambda start, *_: start < count, part, (tf.constant(0), *zeros), parallel_iterations=1
    )
    model.optimizer.apply_gradients(zip(gradients, weights, strict=True))
    return dict(model.get_metrics_result())


def _gradients(model: keras.Model, part: tuple[Any, ...], weights: list[Any], share: Tensor) -> list[Tensor]:
    """Return a part's gradients times its share, after its loss and metrics are counted."""
    import tensorflow as tf

    x, y, sample_weight = part
    with tf.GradientTape() as tape:
        logits = model(x, training=True)
        loss = model._compute_loss(x=x, y=y, y_pred=logits, sample_weight=sample_weight, training=True)
        scaled = model.optimizer.scale_loss(loss * share)
    model._loss_tracker.update_state(loss, sample_weight=ops.shape(y)[0])
    model.compute_metrics(x, y, logits, sample_weight=sample_weight)
    return tape.gradient(scaled, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def _weight(model: keras.Model, part: tuple[Any, ...]) -> Tensor:
    """Return what a part's loss is a mean of: the weights of its target tokens, or its rows for another loss."""
    _, y, sample_weight = part
    losses = [loss for loss in keras.tree.flatten(model.loss) if hasattr(loss, "weight_of")]
    return losses[0].weight_of(y, sample_weight) if losses else ops.cast(ops.shape(y)[0], "float32")
