"""Write warm-up requests, which a model server runs before a version is ready.

Without them the first requests after a load pay for building and optimizing each signature's graph. Each has a single row: a
server that merges requests checks them against its `max_batch_size`, and does not load a version whose warm-up is larger.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
_TEXT = "A few words of ordinary length, so that every part of the graph has run once."


def write_warmup_requests(directory: str | Path, task_ids: Sequence[str], *, hidden_dim: int) -> int:
    """Write one request per signature into a version directory, but for `tasks`, which is quick and which older graphs lack.

    Args:
      directory: the directory that holds `saved_model.pb`.
      task_ids: the names of its tasks; the first one is asked.
      hidden_dim: H, the width of a prompt.

    Returns:
      How many requests were written.

    Source: TF Serving reads TFRecords of `PredictionLog` from assets.extra/tf_serving_warmup_requests, at most 1,000
    (tensorflow/serving:tensorflow_serving/servables/tensorflow/saved_model_warmup.cc).
    """
    path = Path(directory) / WARMUP_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    requests = _requests(task_ids[0], hidden_dim)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests:
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
    return len(requests)


def _requests(task_id: str, hidden_dim: int) -> list[predict_pb2.PredictRequest]:
    row = {"task_id": [task_id], "text": [_TEXT]}
    return [
        _request("serving_default", **row),
        _request("classify", **row),
        _request("score", **row, target=["word"]),
        _request("generate_with_prompt", prompt=np.zeros((1, 1, hidden_dim), np.float32), text=[_TEXT]),
    ]


def _request(signature: str, **inputs: object) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request
