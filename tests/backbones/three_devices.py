"""Runs a T5 on one device and laid over several, and prints what differs as JSON: three_devices.py PRESET DIRECTORY.

A script of its own, as logical devices must be set before TensorFlow starts.
"""

import contextlib
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 5
)
import keras
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.eager import context
from tiny_run import run_values, write_preset, write_tasks, write_yaml
from tiny_t5 import make_tiny_t5

import softprompt_tf as sp
from softprompt_tf.cli.cli import main
from softprompt_tf.errors import SoftPromptError
from softprompt_tf.export import write_saved_model

DEVICES = ["cpu:1", "/CPU:2", "/device:CPU:3"]
TEXTS = ["a film", "the plot is thin and the jokes are tired", "a cold wind", "no"]
LABELS = ["yes", "no"]
METHODS = {
    "prompt_tuning": lambda: sp.prompt_tuning(length=2, seed=1),
    "prefix_tuning": lambda: sp.prefix_tuning(length=2, seed=1),
    "lora": lambda: sp.lora(rank=2, seed=1),
    "late_prompts": lambda: sp.late_prompts(length=2, layer=1, seed=1),
}


def model_of(t5, method=METHODS["prompt_tuning"], **settings):
    model = sp.PromptedT5(t5, method(), labels=LABELS)
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss=sp.TargetCrossEntropy(), **settings)
    return model


def loss_and_gradients(model):
    """Return them of one batch as one flat array."""
    ids = np.array([[5, 9, 7, 1, 0], [8, 6, 30, 12, 1]])
    batch = {
        "encoder_token_ids": ids,
        "encoder_padding_mask": ids != 0,
        "decoder_token_ids": np.array([[0, 20, 1], [0, 21, 22]]),
        "decoder_padding_mask": np.ones((2, 3)),
    }
    batch = {name: tf.constant(value, tf.int32) for name, value in batch.items()}
    with tf.GradientTape() as tape:
        loss = model.compute_loss(y=tf.constant([[20, 1, 0], [21, 22, 1]]), y_pred=model(batch, training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    return np.concatenate([np.ravel(keras.ops.convert_to_numpy(each)) for each in (loss, *gradients)])


def trained(t5, **settings):
    """Return a model's losses, prompt, scores and an answer after two epochs."""
    model = model_of(t5, **settings)
    losses = model.fit(TEXTS, ["yes", "no", "a slow ending", "no"], epochs=2, shuffle=False, verbose=0)
    scores = [row.log_probabilities for row in model.classify(TEXTS)]
    return model, [*losses.history["loss"], *np.ravel(model.prompt_value()), *np.ravel(scores)], model.generate(TEXTS)


def run_of(directory, preset, name, **training):
    """Return the status of `softprompt train`, of two steps, and the prompt that it leaves."""
    values = run_values(preset, [directory / "mood.yaml"], directory / name, steps=2, **training)
    with contextlib.redirect_stdout(sys.stderr):
        status = main(["train", str(write_yaml(directory / f"{name}.yaml", values))])
    prompts = list((directory / name).glob("**/*.safetensors"))
    return status, sp.load_prompt(prompts[0]).prompt if prompts else None


def largest(first, second):
    return float(np.max(np.abs(np.asarray(first) - np.asarray(second))))


def products_by_device():
    """Count the matrix products on each device in the graphs that TensorFlow has made since it was told to keep them."""
    graphs = [graph for each in context.export_run_metadata().function_graphs for graph in each.partition_graphs]
    nodes = [*(node for graph in graphs for node in graph.node)]
    nodes += [node for graph in graphs for function in graph.library.function for node in function.node_def]
    return Counter(node.device.rsplit("/", 1)[-1] for node in nodes if "MatMul" in node.op)


def devices_in(directory):
    """Return the devices that a SavedModel's graphs name."""
    saved = saved_model_pb2.SavedModel.FromString((directory / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    functions = [node for function in graph.library.function for node in function.node_def]
    return sorted({node.device for node in [*graph.node, *functions]})


def refusal(do):
    try:
        do()
    except SoftPromptError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    preset, directory = sys.argv[1:]
    one, several = sp.load_t5(preset), sp.load_t5(preset, devices=DEVICES)
    report = {
        "devices": several.placement.devices,
        "bytes": [list(t5.bytes_by_device.items()) for t5 in (one, several)],
        "weights": max(largest(*pair) for pair in zip(one.backbone.weights, several.backbone.weights, strict=True)),
        "fingerprints": [one.fingerprint, several.fingerprint],
        "too many": refusal(lambda: sp.load_t5(preset, devices=[f"CPU:{k}" for k in range(5)])),
        "gradients": {
            name: largest(*(loss_and_gradients(model_of(t5, method)) for t5 in (one, several)))
            for name, method in METHODS.items()
        },
    }
    settings = {"gradient_checkpointing": True, "micro_batch_size": 2}
    _, expected, answers = trained(make_tiny_t5(num_layers=1, seed=3), **settings)
    pair = make_tiny_t5(num_layers=1, seed=3)
    pair = sp.load_t5((pair.backbone, pair.tokenizer), devices=DEVICES[:2])
    context.enable_run_metadata()
    model, found, answers_of_several = trained(pair, **settings)
    report["products"] = products_by_device()
    context.disable_run_metadata()
    report["trained"], report["same answers"] = largest(expected, found), answers == answers_of_several
    version = write_saved_model(directory, pair, {"film": model}, verify=False)
    report["devices of the export"] = devices_in(version)
    quantized = sp.load_t5(preset, quantization="int8"), sp.load_t5(preset, devices=DEVICES, quantization="int8")
    report["gradients"]["int8"] = largest(*(loss_and_gradients(model_of(t5)) for t5 in quantized))
    report["bytes of int8"] = [sum(t5.bytes_by_device.values()) for t5 in quantized]
    mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with mirrored.scope():
        report["replicas"] = refusal(lambda: model_of(several))
    runs = Path(directory)
    write_tasks(runs)
    small = write_preset(runs / "small", num_layers=1)  # which takes half the time
    plain, laid_out = run_of(runs, small, "plain"), run_of(runs, small, "laid_out", devices=DEVICES[:2])
    report["statuses of runs"] = [plain[0], laid_out[0]]
    report["runs"] = largest(plain[1], laid_out[1])
    json.dump(report, sys.stdout)
