"""Prints, as JSON, what `fit` and `evaluate` report on one device and on two, for row counts that two devices share unevenly.

A script of its own, as logical devices must be set before TensorFlow starts.
"""

import contextlib
import io
import json
import re

import keras
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

from keras_user import INPUTS, TARGETS, make_model
from tiny_t5 import make_tiny_t5

import softprompt_tf as sp
from softprompt_tf.errors import TrainingError
from softprompt_tf.training.callbacks import BatchLogs, MeanLogs, batch_weights

WEIGHTS = [1.0, 0.5, 2.0, 0.0, 3.0]
METRICS = ["accuracy", "exact_match", "label_accuracy"]


def batches(inputs=INPUTS):
    return tf.data.Dataset.from_tensor_slices((inputs, TARGETS)).batch(4)


def numbers_told(model):
    """Return the numbers in the line on texts that pass in batches; one of 5 has a character that no piece holds."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        model.evaluate(batches([*INPUTS[:4], "漢"]), verbose=0)
    (line,) = [line for line in said.getvalue().splitlines() if line.startswith("Texts: 5 rows;")]
    return [float(number) for number in re.findall(r"[0-9.]+", line)]


def means_over_batches(model):
    """Return the weighted means of the logs of each batch alone."""
    means = MeanLogs()
    add = keras.callbacks.LambdaCallback(on_train_batch_end=lambda _, logs: means.add(logs, batch_weights(model)))
    model.fit(batches(), verbose=0, callbacks=[BatchLogs(), add])
    return {name: value for name, value in means.take().items() if name != "seconds_per_step"}


def refused(scope):
    """Return what is said of settings that Keras cannot do on several devices."""
    said = []
    with scope:
        model = make_model(make_tiny_t5(num_layers=1))
        for optimizer, steps in ((keras.optimizers.Adam(gradient_accumulation_steps=2), 1), ("adam", 3)):
            try:
                model.compile(optimizer, sp.TargetCrossEntropy(), steps_per_execution=steps)
            except TrainingError as error:
                said.append(str(error))
    return said


def report(scope):
    with scope:
        model = make_model(make_tiny_t5(num_layers=1))
        model.compile(
            optimizer=keras.optimizers.SGD(0.1),
            loss=sp.TargetCrossEntropy(),
            metrics=METRICS,
            weighted_metrics=[sp.TokenAccuracy()],
        )
    # 3 rows first: what one device has 2 of, and the other 1, Keras cannot split by itself.
    first = model.fit(INPUTS[:3], TARGETS[:3], batch_size=3, shuffle=False, verbose=0).history
    training = model.fit(
        INPUTS,
        TARGETS,
        batch_size=4,
        sample_weight=WEIGHTS,
        shuffle=False,
        validation_data=(INPUTS, TARGETS),
        epochs=2,
        verbose=0,
    ).history
    return {
        "first": first,
        "training": training,
        "evaluate": [model.evaluate(INPUTS, TARGETS, batch_size=size, verbose=0) for size in (1, 2, 3, 4, 5)],
        "one batch": model.test_on_batch(INPUTS, TARGETS),
        "told": numbers_told(model),
        "means": means_over_batches(model),
        "prompt": model.prompt_value().tolist(),
    }


if __name__ == "__main__":
    mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    print(json.dumps([report(contextlib.nullcontext()), report(mirrored.scope()), refused(mirrored.scope())]))
