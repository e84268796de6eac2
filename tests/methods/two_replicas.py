"""Trains each method on one device and on two logical CPU devices, and prints what differs as JSON.

A script of its own, as logical devices must be set before TensorFlow starts.
"""

import json
import sys

import numpy as np
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
import keras
from tiny_t5 import make_tiny_t5

import softprompt_tf as sp
from softprompt_tf.methods import METHODS
from softprompt_tf.training import Distillation

TEXTS = [
    "a film",
    "the plot is thin and the jokes are tired",
    "a cold wind",
    "nobody sent it",
    "no",
    "the soup was warm",
]
TARGETS = ["yes", "no", "a slow ending", "yes", "no", "no"]
TAUGHT = "prompt_tuning with a teacher"  # whose answers and hidden states it stays near
SEVERAL = ("multitask_prompts", "mpt")
SMALL = {
    "lora": {"rank": 2},
    "ia3": {},
    "adapters": {"bottleneck_dim": 2},
    "mad_x": {"bottleneck_dim": 2},
    "dept": {"length": 2, "rank": 2, "num_offsets": 8, "offsets_rate": 0.5},
    "warp": {"length": 2, "labels": sorted(set(TARGETS))},
}


def trained(name, strategy):
    """Return a method's variables before and after two steps, whose rows the replicas share unevenly in tokens."""
    with strategy.scope():
        t5 = make_tiny_t5(num_layers=1, seed=3)
        tasks = {"task_ids": ["a", "b"]} if name in SEVERAL else {}
        terms = [teacher_of(t5)] if name == TAUGHT else []
        method = METHODS[name.split()[0]].make(**SMALL.get(name, {"length": 2}), seed=1, **tasks)
        model = sp.PromptedT5(t5, method)
        model.compile(optimizer=keras.optimizers.SGD(0.5), loss=sp.TargetCrossEntropy(), loss_terms=terms)
    before = values_of(model)
    rows = {"encoder_text": TEXTS, "decoder_text": TARGETS}
    if tasks:
        rows["task_id"] = ["a", "b"] * 3
    model.fit(rows, batch_size=4, shuffle=False, verbose=0)
    return before, values_of(model)


def teacher_of(t5):
    return Distillation(sp.PromptedT5(t5, sp.prompt_tuning(3, seed=5)).task_prompt("it"), hidden_weight=2.0)


def values_of(model):
    return [np.array(variable.numpy()) for variable in model.trainable_variables]


def largest(first, second):
    return max(float(np.max(np.abs(a - b))) for a, b in zip(first, second, strict=True))


if __name__ == "__main__":
    mirrored, report = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), {}
    for name in (*METHODS, TAUGHT):
        before, one = trained(name, tf.distribute.get_strategy())
        first, two = trained(name, mirrored)
        report[name] = {"start": largest(before, first), "moved": largest(before, one), "differs": largest(one, two)}
    json.dump(report, sys.stdout)
