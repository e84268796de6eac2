"""Task ids in, a file of warm-up requests out: a model server runs them before it says that a version is ready.

Without them the first requests after a load pay for building and optimizing each signature's graph.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
BATCH_SIZES = (1, 16)
_TEXT = "A few words of ordinary length, so that every part of the graph has run once."


def write_warmup_requests(directory: str | Path, task_ids: Sequence[str], *, hidden_dim: int) -> int:
    """Write one request per signature and batch size into a version directory.

    Args:
      directory: the directory that holds `saved_model.pb`.
      task_ids: rows of a batch go through these names in turn.
      hidden_dim: H, the width of a prompt.

    Returns:
      How many requests were written.

    Source: TF Serving reads TFRecords of `PredictionLog` from assets.extra/tf_serving_warmup_requests, at most 1,000
    (tensorflow/serving:tensorflow_serving/servables/tensorflow/saved_model_warmup.cc).
    """
    path = Path(directory) / WARMUP_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    requests = [request for size in BATCH_SIZES for request in _requests(task_ids, size, hidden_dim)]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests:
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
    return len(requests)


def _requests(names: Sequence[str], batch_size: int, hidden_dim: int) -> list[predict_pb2.PredictRequest]:
    task_ids = [names[k % len(names)] for k in range(batch_size)]
    texts = [_TEXT] * batch_size
    prompt = np.zeros((batch_size, 1, hidden_dim), np.float32)
    return [
        _request("serving_default", task_id=task_ids, text=texts),
        _request("classify", task_id=task_ids, text=texts),
        _request("score", task_id=task_ids, text=texts, target=["word"] * batch_size),
        _request("generate_with_prompt", prompt=prompt, text=texts),
    ]


def _request(signature: str, **inputs: object) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request
