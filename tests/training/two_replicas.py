"""Trains the tiny model on one device and on two logical CPU devices, and prints the differences as JSON.

A script of its own, as logical devices must be set before TensorFlow starts.
"""

import json
import sys
import tempfile

import numpy as np
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

import tiny_run

from softprompt_tf.training import Adafactor, Prodigy, ScheduleFreeAdam, make_strategy, train_prompt

OPTIMIZERS = {
    "adafactor": lambda: Adafactor(0.3),
    "prodigy": lambda: Prodigy(d0=1e-2),
    "schedule_free_adam": lambda: ScheduleFreeAdam(0.1),
}


class Losses(tiny_run.keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.values = []

    def on_train_batch_end(self, batch, logs=None):
        self.values.append(logs["loss"])


def train(strategy, optimizer, directory, steps):
    with strategy.scope():
        model = tiny_run.make_model(OPTIMIZERS[optimizer]())
    losses = Losses()
    train_prompt(
        model,
        tiny_run.RandomBatches(),
        steps=steps,
        seed=0,
        evaluate=lambda: {"step": float(model.optimizer.iterations.numpy())},
        evaluate_every=2,
        checkpoint_dir=directory,
        log_dir=directory,
        callbacks=[losses],
    )
    return model, losses.values


def largest(first, second):
    return float(np.max(np.abs(np.asarray(first) - np.asarray(second))))


def compared(optimizer, mirrored):
    """Return the differences between one device and two replicas that were stopped after half of the steps."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        single_model, single_losses = train(make_strategy("default"), optimizer, one, 6)
        train(mirrored, optimizer, two, 3)
        model, losses = train(mirrored, optimizer, two, 6)
    copies = model.prompt_variable.value.values
    pairs = zip(single_model.optimizer.variables[2:], model.optimizer.variables[2:], strict=True)
    return {
        "replicas": mirrored.num_replicas_in_sync,
        "steps": int(model.optimizer.iterations.numpy()),
        "loss": largest(single_losses[3:], losses),
        "prompt": largest(single_model.prompt_variable.numpy(), model.prompt_variable.numpy()),
        "copies": largest(copies[0].numpy(), copies[1].numpy()),
        "slots": max(largest(one.numpy(), two.numpy()) for one, two in pairs),
        "moved": largest(single_model.prompt_variable.numpy(), tiny_run.make_model().prompt_variable.numpy()),
    }


if __name__ == "__main__":
    mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    json.dump({optimizer: compared(optimizer, mirrored) for optimizer in OPTIMIZERS}, sys.stdout)
