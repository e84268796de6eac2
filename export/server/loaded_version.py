"""Load one version of a model, warm it up, and answer requests with it."""

import functools
import logging
import weakref
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from softprompt_tf.errors import ExportError, ServingError, VerificationError
from softprompt_tf.export.server.batching import BatchScheduler, VersionBatcher
from softprompt_tf.export.server.predict_contract import STATUS_CODES, LoadedModel, run_predict
from softprompt_tf.export.session.session_loader import SavedModelSession
from softprompt_tf.export.versions.version_numbers import find_versions
from softprompt_tf.files.local_paths import local_source

MAX_WARMUP_REQUESTS = 1000  # the limit of TF Serving, which refuses to load a version with more

logger = logging.getLogger(__name__)


def check_directory(directory: str | Path | None) -> Path:
    """Return the whole path of a model's base directory; it may still be empty.

    Raises:
      ServingError: if it does not exist, is a version itself, or has no version but a folder with some.
    """
    if directory is None:
        raise ServingError(
            "A directory to serve or a model config file must be given. Received: neither.", status="INVALID_ARGUMENT"
        )
    base_path = local_source(directory, error_type=ServingError).resolve()
    if not base_path.is_dir():
        raise ServingError(f"The directory to serve must exist. Received: {base_path}.", status="NOT_FOUND")
    if (base_path / "saved_model.pb").is_file():
        raise ServingError(
            f"The directory to serve must hold version directories such as 1/. Received: {base_path}."
            f" Hint: this is one version; serve {base_path.parent}.",
            status="NOT_FOUND",
        )
    exports = sorted({model.parents[1] for model in base_path.glob("*/[0-9]*/saved_model.pb")})
    if exports and not find_versions(base_path):
        raise ServingError(
            f"The directory to serve must hold version directories such as 1/. Received: {base_path}."
            f" Hint: serve one of the exports in it, such as {exports[0]}.",
            status="NOT_FOUND",
        )
    return base_path


def load_version(
    directory: Path, *, model_name: str, version: int, scheduler: BatchScheduler | None = None
) -> LoadedModel:
    """Load one SavedModel with its signatures.

    Args:
      directory: holds saved_model.pb.
      model_name: name of the model that it is a version of.
      version: its number.
      scheduler: merges its requests; None runs each on its own.

    The work is done by the C++ loader and session of TensorFlow that TF Serving uses too, so that errors are the same.

    Raises:
      VerificationError: if the directory holds no SavedModel for serving; with TensorFlow's status and reason.
    """
    session = SavedModelSession(directory)
    path = directory / "saved_model.pb"
    meta_graphs = saved_model_pb2.SavedModel.FromString(path.read_bytes()).meta_graphs
    stored = next(graph.signature_def for graph in meta_graphs if "serve" in graph.meta_info_def.tags)
    signatures = {name: type(item).FromString(item.SerializeToString()) for name, item in stored.items()}
    functions = {name: functools.partial(_run_signature, session, name) for name in session.signatures}
    batcher = None if scheduler is None else VersionBatcher(scheduler)
    model = LoadedModel(model_name, version, signatures, functions, batcher=batcher)
    # The memory goes when the last request lets go of the model. At exit nobody needs it.
    weakref.finalize(model, session.close).atexit = False
    return model


def _run_signature(session: SavedModelSession, signature_name: str, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
    arrays = {name: (_as_array(tensor), tensor.dtype.as_datatype_enum) for name, tensor in inputs.items()}
    return {name: tf.constant(array) for name, array in session.run_unchecked(signature_name, arrays).items()}


def _as_array(tensor: tf.Tensor) -> np.ndarray:
    if tensor.dtype == tf.string:
        return np.array(tensor.numpy(), dtype=object)
    array = np.asarray(tensor)
    return np.ascontiguousarray(array).reshape(array.shape)  # ascontiguousarray makes a scalar one-dimensional


def run_warmup(model: LoadedModel, directory: Path) -> int:
    """Run the requests that the export brings along, so that the first caller does not wait; return their number.

    Raises:
      ServingError: if there are too many, or one of them fails; TF Serving does not load such a version either.
    """
    path = directory / "assets.extra" / "tf_serving_warmup_requests"
    if not path.is_file():
        return 0
    count = 0
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        count += 1
        if count > MAX_WARMUP_REQUESTS:
            message = f"Number of warmup records exceeds the maximum ({MAX_WARMUP_REQUESTS}) at {path}"
            raise ServingError(message, status="INVALID_ARGUMENT")
        log = prediction_log_pb2.PredictionLog.FromString(record)
        if log.WhichOneof("log_type") != "predict_log":
            message = f"Unsupported log_type for warmup: {log.WhichOneof('log_type')}"
            raise ServingError(message, status="UNIMPLEMENTED")
        run_predict(model, log.predict_log.request)
    return count


def error_code(error: Exception) -> int:
    """Return the status code under which TF Serving reports that a version does not load."""
    if isinstance(error, VerificationError) and error.status:
        return STATUS_CODES[error.status]
    if isinstance(error, ServingError):
        return STATUS_CODES[error.status]
    if isinstance(error, tf.errors.OpError):
        return int(error.error_code)
    if isinstance(error, ExportError | FileNotFoundError):
        return STATUS_CODES["NOT_FOUND"]
    return STATUS_CODES["DATA_LOSS" if isinstance(error, DecodeError) else "UNKNOWN"]


def stamp_files(directory: Path) -> tuple[int, int, int]:
    """Return what changes when somebody writes into a version: its files' count, bytes and last change in ns."""
    try:
        stats = [path.stat() for path in directory.rglob("*") if path.is_file()]
    except OSError:  # a file went away meanwhile
        return 0, 0, 0
    return (
        len(stats),
        sum(stat.st_size for stat in stats),
        max((stat.st_mtime_ns for stat in stats), default=0),
    )
