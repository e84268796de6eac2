"""Takes three steps of pretraining on one device and on two logical CPU devices, and prints the differences as JSON.

A script of its own, as logical devices must be set before TensorFlow starts.
"""

import json

import keras
import numpy as np
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

from softprompt_tf.pretraining.backbone import BackboneShape, build_backbone
from softprompt_tf.pretraining.batches import pad_batch
from softprompt_tf.pretraining.train_step import TrainStep

SHAPE = BackboneShape(
    vocabulary_size=60, hidden_dim=16, intermediate_dim=24, num_layers=1, num_heads=2, key_value_dim=8
)


def make_batch(rng):
    """Return 5 rows, which two replicas cannot share evenly, with very different numbers of targets.

    The first row is of the greatest length, so that a step is traced once.
    """
    inputs, targets = (
        [rng.integers(3, 60, longest if row == 0 else rng.integers(1, longest)).tolist() for row in range(5)]
        for longest in (12, 9)
    )
    return pad_batch(inputs, targets)


def train(strategy):
    with strategy.scope():
        backbone = build_backbone(SHAPE, dtype="float32", seed=1)
        optimizer = keras.optimizers.Adafactor(2e-2)
        optimizer.build(backbone.trainable_variables)
    step = TrainStep(backbone, optimizer, precision="float32", strategy=strategy)
    before = [variable.numpy() for variable in backbone.trainable_variables]
    rng = np.random.default_rng(0)
    losses = [step(make_batch(rng), rate=0.02) for _ in range(3)]
    weights = [keras.ops.convert_to_numpy(variable) for variable in backbone.trainable_variables]
    return backbone, before, weights, losses


def largest(first, second):
    return float(max(np.abs(a - b).max() for a, b in zip(first, second, strict=True)))


if __name__ == "__main__":
    mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    _, before, single, single_losses = train(tf.distribute.get_strategy())
    backbone, _, double, double_losses = train(mirrored)
    copies = [[np.asarray(part) for part in variable.value.values] for variable in backbone.trainable_variables]
    report = {
        "replicas": mirrored.num_replicas_in_sync,
        "moved": largest(before, single),
        "weights_differ": largest(single, double),
        "losses_differ": float(np.abs(np.subtract(single_losses, double_losses)).max()),
        "copies_differ": max(float(np.abs(first - second).max()) for first, second in copies),
    }
    print(json.dumps(report))
