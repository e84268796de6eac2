"""The versions of one model: a directory base/<integer>/ enters, the newest version that loads is served.

The directory is looked at again and again. A new version is loaded and warmed up beside the old one, then takes over;
requests that still run on the old one finish there, and its memory is freed after the last. A version that does not
load is reported and left alone until its files change, and what was served before stays.
"""

import gc
import logging
import weakref
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
    prediction_log_pb2,
)

from softprompt_tf.errors import ExportError, ServingError
from softprompt_tf.export.predict_contract import (
    LoadedModel,
    VersionState,
    check_metadata_request,
    describe_model,
    find_model,
    report_states,
    run_predict,
)

MAX_WARMUP_REQUESTS = 1000  # the limit of TF Serving, which refuses to load a version with more
_UNKNOWN = 2

logger = logging.getLogger(__name__)


class ModelVersions:
    """Hold the version to serve and the state of every version seen; safe to use from many threads.

    Args:
      base_path: directory whose integer-named sub-directories are the versions.
      model_name: the name that requests must use.
    """

    def __init__(self, base_path: Path, *, model_name: str):
        self.base_path, self.model_name = base_path, model_name
        self._available: dict[int, LoadedModel] = {}  # replaced as a whole, so that readers need no lock
        self._states: dict[int, VersionState] = {}  # set one by one, without a lock: a finalizer may run anywhere
        self._failed: dict[int, tuple[int, int]] = {}

    def poll(self) -> None:
        """Look at the directory once; load and serve its newest version that loads. Call from one thread only."""
        for version, directory in sorted(find_versions(self.base_path).items(), reverse=True):
            if version in self._available:
                self._serve_only(self._available[version])
                return
            stamp = _stamp(directory)
            if self._failed.get(version) == stamp:
                continue
            model = self._load(version, directory)
            if model is not None:
                self._serve_only(model)
                return
            self._failed[version] = stamp

    @property
    def is_serving(self) -> bool:
        return bool(self._available)

    def find(self, spec: model_pb2.ModelSpec) -> LoadedModel:
        """Return the loaded version that `spec` asks for."""
        return find_model(spec, model_name=self.model_name, available=self._available)

    def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        return run_predict(self.find(request.model_spec), request)

    def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        check_metadata_request(request)
        return describe_model(self.find(request.model_spec))

    def status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        return report_states(request, model_name=self.model_name, states=self.states())

    def states(self) -> dict[int, VersionState]:
        """Return the state of every version seen since the start."""
        return dict(self._states)

    def close(self) -> None:
        """Stop serving every version."""
        for version in self._available:
            self._set_state(version, VersionState("UNLOADING"))
        self._available = {}

    def _load(self, version: int, directory: Path) -> LoadedModel | None:
        self._set_state(version, VersionState("LOADING"))
        try:
            model = load_version(directory, model_name=self.model_name, version=version)
            run_warmup(model, directory)
        except Exception as error:  # whatever a broken export raises, the version that is served must stay
            logger.warning("Version %d of model %s does not load: %s", version, self.model_name, error)
            self._set_state(version, VersionState("END", _UNKNOWN, str(error)[:1024]))
            return None
        # The state changes when the last request lets go of the model. At exit nobody is left to be told.
        weakref.finalize(model, self._finish_unloading, version).atexit = False
        logger.info("Version %d of model %s is loaded", version, self.model_name)
        return model

    def _serve_only(self, model: LoadedModel) -> None:
        retired = [version for version in self._available if version != model.version]
        if not retired and self._available:
            return
        self._set_state(model.version, VersionState("AVAILABLE"))
        for version in retired:
            self._set_state(version, VersionState("UNLOADING"))
        self._available = {model.version: model}
        if retired:
            gc.collect()  # a restored model holds reference cycles: without this its weights would linger

    def _finish_unloading(self, version: int) -> None:
        if self._states[version].state == "UNLOADING":
            self._states[version] = VersionState("END")

    def _set_state(self, version: int, state: VersionState) -> None:
        self._states[version] = state


def find_versions(base_path: Path) -> dict[int, Path]:
    """Return the version directories of a model by their number; none where `base_path` is missing."""
    if not base_path.is_dir():
        return {}
    entries = [entry for entry in base_path.iterdir() if entry.name.isascii() and entry.name.isdigit()]
    return {int(entry.name): entry for entry in entries if entry.is_dir()}


def load_version(directory: Path, *, model_name: str, version: int) -> LoadedModel:
    """Load one SavedModel with its signatures.

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
    return LoadedModel(model_name, version, stored, dict(loaded.signatures))


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


def _stamp(directory: Path) -> tuple[int, int]:
    """Return what changes when somebody repairs a version: times of its directory and its graph, in ns."""
    path = directory / "saved_model.pb"
    return directory.stat().st_mtime_ns, path.stat().st_mtime_ns if path.is_file() else 0
