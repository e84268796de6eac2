"""Measure what float32 and bfloat16 do on the first batches of a run, and how long that takes."""

import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, TypeVar

import keras
import numpy as np
import tensorflow as tf

from softprompt_tf.backbones import load_t5
from softprompt_tf.config import RunConfig
from softprompt_tf.model.prompted_t5 import PromptedT5
from softprompt_tf.runs.configured import build_model, training_batches
from softprompt_tf.runs.precision_choice import PRECISIONS, Measured
from softprompt_tf.runs.task_data import TaskData

FIRST_BATCHES = 3

_Answer = TypeVar("_Answer")


def measured_run(config: RunConfig, data: Sequence[TaskData]) -> list[Measured]:
    """Return what float32 and bfloat16 do on a run's first batches; one T5 is in memory at a time."""

    def of(precision: str) -> Measured:
        keras.utils.set_random_seed(config.seed % 2**32)
        t5 = load_t5(config.backbone, dtype=precision, devices=config.training.devices)
        model = build_model(t5, config, [each.task for each in data])
        return measure(model, training_batches(t5, model, data, config).dataset(first_step=0))

    return [of(precision) for precision in PRECISIONS]


def measure(model: PromptedT5, batches: tf.data.Dataset) -> Measured:
    """Compute losses and gradients of the first batches, and how long that takes once all is compiled."""
    # By its signature it is traced once, whatever the widths of the batches are.
    run = tf.function(_losses_and_gradients(model), autograph=False, input_signature=batches.element_spec)
    first = list(islice(iter(batches), FIRST_BATCHES))

    def once() -> list[tuple[float, Sequence[tf.Tensor]]]:
        answers = [run(x, y) for x, y in first]
        return [(float(loss), gradients) for loss, gradients in answers]

    answers, seconds = timed(once)
    losses, vectors = zip(*((loss, _vector(gradients)) for loss, gradients in answers), strict=True)
    return Measured(seconds, losses, vectors)


def timed(run: Callable[[], _Answer]) -> tuple[_Answer, float]:
    """Return what a function returns, and the seconds of a call after the first one, which traces.

    The better of two calls counts; processor time where there is no GPU, so that others on the machine do not count.
    """
    clock = time.perf_counter if tf.config.list_physical_devices("GPU") else time.process_time
    answer, seconds = run(), []
    for _ in range(2):
        started = clock()
        run()
        seconds.append(clock() - started)
    return answer, min(seconds)


def _losses_and_gradients(model: PromptedT5) -> Any:
    def run(x: dict[str, tf.Tensor], y: tf.Tensor) -> tuple[tf.Tensor, Sequence[tf.Tensor]]:
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x=x, y=y, y_pred=model(x, training=True))
        return loss, tape.gradient(loss, model.trainable_variables)

    return run


def _vector(gradients: Sequence[tf.Tensor]) -> np.ndarray:
    return np.concatenate([np.ravel(tf.convert_to_tensor(gradient).numpy()) for gradient in gradients])
