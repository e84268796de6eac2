"""A scripted gRPC model server for the clients' tests: no model and no TensorFlow are involved."""

import queue
import threading
from concurrent import futures

import grpc
import numpy as np

from softprompt_tf.export.client import wire


def read_array(tensor):
    """Return a tensor message as a NumPy array; strings are an object array of bytes."""
    read = wire.read_tensor(tensor)
    array = np.empty(len(read.values), object if read.dtype == "string" else read.dtype)
    array[:] = read.values
    return array.reshape(read.shape)


class FakeServer(grpc.GenericRpcHandler):
    """Answers Predict with `predict(inputs) -> outputs`, after refusing as often as `refusals` says; keeps requests.

    `delay_s` holds every request back, until `pause` is set; `cancellations` gets an item for each request that ended
    before its answer was ready; `peak` is how many were held at the same time. `width` is that of prompts; None: it has no
    GetModelMetadata. `asked_for_width` counts these requests.
    """

    def __init__(self, *, credentials=None):
        self.predict = lambda inputs: generations(inputs)
        self.refusals = []
        self.delay_s = 0.0
        self.pause = threading.Event()
        self.requests = []
        self.cancellations = queue.Queue()
        self.states = [(2, 30), (1, 50)]
        self.peak = 0
        self.width, self.asked_for_width, self.width_refusals = None, 0, []
        self._held, self._lock = 0, threading.Lock()
        self._server = grpc.server(
            futures.ThreadPoolExecutor(8), handlers=[self], options=[("grpc.max_receive_message_length", -1)]
        )
        if credentials is None:
            self.port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            self.port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self._server.start()

    @property
    def target(self):
        return f"127.0.0.1:{self.port}"

    def stop(self):
        self.pause.set()
        self._server.stop(0).wait()

    def service(self, details):
        if details.method == "/tensorflow.serving.PredictionService/Predict":
            request, respond = wire.PredictRequest, self._predict
        elif details.method == "/tensorflow.serving.ModelService/GetModelStatus":
            request, respond = wire.GetModelStatusRequest, self._status
        elif details.method.endswith("/GetModelMetadata") and (self.width or self.width_refusals):
            request, respond = wire.GetModelMetadataRequest, self._metadata
        else:
            return None
        return grpc.unary_unary_rpc_method_handler(
            respond,
            request_deserializer=request.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    def _predict(self, request, context):
        is_over = threading.Event()
        context.add_callback(lambda: is_over.is_set() or self.cancellations.put(request))
        try:
            return self._answer(request, context)
        finally:
            is_over.set()

    def _answer(self, request, context):
        self.requests.append(request)
        with self._lock:
            self._held += 1
            self.peak = max(self.peak, self._held)
        self.pause.wait(self.delay_s)
        with self._lock:
            self._held -= 1
        if self.refusals:
            context.abort(self.refusals.pop(0), "not now")
        response = wire.PredictResponse()
        inputs = {name: read_array(tensor) for name, tensor in request.inputs.items()}
        for name, array in self.predict(inputs).items():
            wire.set_array(response.outputs[name], array)
        return response

    def _metadata(self, request, context):
        self.asked_for_width += 1
        if self.width_refusals:
            context.abort(self.width_refusals.pop(0), "no signatures")
        signatures = wire.SignatureDefMap()
        shape = signatures.signature_def["generate_with_prompt"].inputs["prompt"].tensor_shape
        for size in (-1, -1, self.width):
            shape.dim.add(size=size)
        response = wire.GetModelMetadataResponse()
        response.metadata["signature_def"].value = signatures.SerializeToString()
        return response

    def _status(self, request, context):
        response = wire.GetModelStatusResponse()
        for version, state in self.states:
            response.model_version_status.add(version=version, state=state)
        return response


def strings(*values):
    return np.array(values, object)


def generations(inputs):
    """The twin of a generate signature: the answer is "task|text", the score is minus the text's length."""
    texts, ids = inputs["text"].tolist(), inputs["task_id"].tolist()
    return {
        "output": strings(*[task + b"|" + text for task, text in zip(ids, texts, strict=True)]),
        "score": np.array([-len(text) for text in texts], np.float32),
        "status": strings(*[b"unknown task" if task == b"nope" else b"" for task in ids]),
    }


def task_outputs(inputs):
    """Two tasks, an ensemble without labels last, whose ids begin with the prefix that is asked for."""
    (prefix,) = inputs["prefix"].tolist()
    numbers = {
        "num_labels": [2, 0],
        "max_input_tokens": [64, 512],
        "max_target_tokens": [5, 32],
        "num_prompts": [1, 2],
    }
    return {
        "task_id": np.array([[(prefix or b"/") + b"en", (prefix or b"/") + b"de"]], object),
        "labels": np.array([[[b"bad", b"good"], [b"", b""]]], object),
        "status": strings(b""),
        **{name: np.array([values], np.int32) for name, values in numbers.items()},
    }
