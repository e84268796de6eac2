"""One version of a model: its directory enters, functions that answer requests leave, warmed up."""

import logging
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from softprompt_tf.errors import ExportError, ServingError
from softprompt_tf.export.batching import BatchScheduler, VersionBatcher
from softprompt_tf.export.predict_contract import STATUS_CODES, LoadedModel, run_predict

MAX_WARMUP_REQUESTS = 1000  # the limit of TF Serving, which refuses to load a version with more

logger = logging.getLogger(__name__)


def find_versions(base_path: Path) -> dict[int, Path]:
    """Return the version directories of a model by their number; none where `base_path` is missing."""
    if not base_path.is_dir():
        return {}
    entries = [entry for entry in base_path.iterdir() if entry.name.isascii() and entry.name.isdigit()]
    return {int(entry.name): entry for entry in entries if entry.is_dir()}


def check_directory(directory: str | Path | None) -> Path:
    """Return the whole path of a directory that holds version directories.

    Raises:
      ServingError: if it is none.
    """
    if directory is None:
        raise ServingError(
            "A directory to serve or a model config file must be given. Received: neither.", status="INVALID_ARGUMENT"
        )
    base_path = Path(directory).resolve()
    if not base_path.is_dir():
        raise ServingError(f"The directory to serve must exist. Received: {base_path}.", status="NOT_FOUND")
    if not find_versions(base_path):
        is_version = (base_path / "saved_model.pb").is_file()
        hint = f" Hint: this is one version; serve {base_path.parent}." if is_version else ""
        raise ServingError(
            f"The directory to serve must hold version directories such as 1/. Received: {base_path}.{hint}",
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

    Raises:
      ExportError: if the directory holds no SavedModel for serving.
    """
    import tensorflow_text  # noqa: F401  # registers the operations of its tokenizers

    path = directory / "saved_model.pb"
    if not path.is_file():
        raise ExportError(f"A version directory must hold saved_model.pb. Received: {directory}.")
    meta_graphs = saved_model_pb2.SavedModel.FromString(path.read_bytes()).meta_graphs
    signatures = [graph.signature_def for graph in meta_graphs if "serve" in graph.meta_info_def.tags]
    if not signatures:
        raise ExportError(f'A SavedModel must have the tag "serve". Received: {path}.')
    stored = {
        name: type(signature).FromString(signature.SerializeToString()) for name, signature in signatures[0].items()
    }
    loaded = tf.saved_model.load(str(directory), tags=["serve"])
    batcher = None if scheduler is None else VersionBatcher(scheduler)
    return LoadedModel(model_name, version, stored, dict(loaded.signatures), batcher=batcher, root=loaded)


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
