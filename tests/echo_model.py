"""A SavedModel whose answers are known by hand, and what the tests of the model server ask it."""

import http.client
import json
import time

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

COLUMN = tf.TensorSpec([None], tf.string)


class Echo(tf.Module):
    """output = "task:text"; score = length of the text + 100 * version; status of task "nope" is "unknown task"."""

    def __init__(self, version):
        super().__init__()
        self.offset = tf.Variable(100.0 * version)

    def _score(self, text):
        return tf.cast(tf.strings.length(text), tf.float32) + self.offset

    @tf.function(input_signature=[COLUMN, COLUMN])
    def generate(self, task_id, text):
        status = tf.where(task_id == "nope", "unknown task", "")
        normal = tensorflow_text.normalize_utf8(text)  # as any exported tokenizer: an op of that library
        return {"output": task_id + ":" + normal, "score": self._score(text), "status": status}

    @tf.function(input_signature=[COLUMN, COLUMN])
    def classify(self, task_id, text):
        rows = tf.ones([tf.size(text), 1])
        return {
            "label": tf.fill([tf.size(text)], "yes"),
            "probability": tf.fill([tf.size(text)], 0.75),
            "labels": tf.repeat([["yes", "no", ""]], tf.size(text), axis=0),
            "log_probabilities": rows * tf.constant([[-0.25, -1.5, -np.inf]]),
            "status": tf.fill([tf.size(text)], ""),
        }

    @tf.function(input_signature=[COLUMN, COLUMN, COLUMN])
    def score(self, task_id, text, target):
        tf.debugging.assert_none_equal(text, "crash", message="the graph refuses this text")
        status = tf.fill([tf.size(task_id)], "")
        return {"log_likelihood": -tf.cast(tf.strings.length(target), tf.float32), "status": status}

    @tf.function(input_signature=[tf.TensorSpec([None, None, 2], tf.float32), COLUMN])
    def generate_with_prompt(self, prompt, text):
        status = tf.fill([tf.size(text)], "")
        return {"output": text, "score": tf.reduce_sum(prompt, axis=[1, 2]), "status": status}


class Rows(tf.Module):
    """What a run looks like from inside: how many rows and columns it has; "crash" fails it."""

    @tf.function(input_signature=[COLUMN])
    def count(self, text):
        tf.debugging.assert_none_equal(text, "crash", message="the graph refuses this text")
        return {"rows": tf.fill([tf.size(text)], tf.size(text)), "text": text}

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)])
    def ids(self, ids):
        return {"ids": ids, "rows": tf.fill([tf.shape(ids)[0]], tf.shape(ids)[0])}

    @tf.function(input_signature=[COLUMN])
    def scalar(self, text):
        return {"rows": tf.size(text)}

    @tf.function(input_signature=[COLUMN])
    def one_row(self, text):
        return {"text": text[:1]}

    @tf.function(
        input_signature=[tf.TensorSpec(None, tf.string, name="text"), tf.TensorSpec(None, tf.string, name="other")]
    )
    def any_rank(self, text, other):
        return {"text": text, "other": other}


def export_echo(directory, version):
    """Write version `version` of Echo into `directory`, a version directory."""
    module = Echo(version)
    signatures = {name: getattr(module, name) for name in ("classify", "score", "generate_with_prompt")}
    tf.saved_model.save(module, str(directory), {"serving_default": module.generate, **signatures})


def export_rows(directory):
    """Write Rows into `directory`, a version directory."""
    module = Rows()
    signatures = {name: getattr(module, name) for name in ("ids", "scalar", "one_row", "any_rank")}
    tf.saved_model.save(module, str(directory), {"serving_default": module.count, **signatures})


def predict_request(inputs, *, signature="", name="echo", version=None, label=None, output_filter=()):
    """Return a PredictRequest; an input is a TensorProto or what TensorFlow makes one of."""
    request = predict_pb2.PredictRequest(output_filter=output_filter)
    request.model_spec.name, request.model_spec.signature_name = name, signature
    if version is not None:
        request.model_spec.version.value = version
    if label is not None:
        request.model_spec.version_label = label
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(
            value if isinstance(value, tensor_pb2.TensorProto) else tf.make_tensor_proto(value)
        )
    return request


def ask_rest(port, method, path, body=None):
    """Return the HTTP code and the JSON of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, body if body is None or isinstance(body, str | bytes) else json.dumps(body))
    response = connection.getresponse()
    content = json.loads(response.read())
    connection.close()
    return response.status, content


def wait_until(condition, timeout_s=20.0):
    """Wait for something that another thread or process brings about."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("the condition did not become true in time")
        time.sleep(0.02)
