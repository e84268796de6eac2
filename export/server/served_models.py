"""All models of a server: load, reload and ask them.

The settings are replaced as a whole, by a new config file or by a ReloadConfigRequest; a model that stays keeps its
loaded versions.

Source: tensorflow/serving model_servers/server_core.cc (ReloadConfig, WaitUntilModelsAvailable).
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2, predict_pb2

from softprompt_tf.errors import ServingError
from softprompt_tf.export.server.batching import BatchScheduler
from softprompt_tf.export.server.model_config import (
    Labels,
    ModelSettings,
    assign_labels,
    describe_unavailable,
    read_model_config_file,
)
from softprompt_tf.export.server.model_reports import check_metadata_request, describe_model, report_states
from softprompt_tf.export.server.model_versions import DEFAULT_RETRIES, LoadRetries, ModelVersions
from softprompt_tf.export.server.predict_contract import LoadedModel, find_model, refuse_examples, run_predict

_LOOK_S = 0.2  # between two looks for the first version of a model

logger = logging.getLogger(__name__)


class ServedModels:
    """Hold the models of one server; safe to use from many threads.

    Args:
      scheduler: merges requests; None runs each on its own.
      retries: when a version that does not load is tried again.
      allow_unavailable_labels: let a new label point to a version that is not loaded, as a label in the first config
        must. Default False.
    """

    def __init__(
        self,
        *,
        scheduler: BatchScheduler | None = None,
        retries: LoadRetries = DEFAULT_RETRIES,
        allow_unavailable_labels: bool = False,
    ):
        self._scheduler, self._retries = scheduler, retries
        self._allow_unavailable_labels = allow_unavailable_labels
        self._models: dict[str, ModelVersions] = {}  # these two are replaced as a whole: readers need no lock
        self._labels: Labels = {}
        self._removed: dict[str, ModelVersions] = {}  # their states can still be asked for
        self._lock = threading.Lock()  # held by whoever loads

    def configure(self, settings: Sequence[ModelSettings], *, is_over: Callable[[], bool] = lambda: True) -> None:
        """Serve these models and no others; return once each new one has a loaded version.

        Args:
          settings: of all models.
          is_over: whether to wait no longer for the first version of a new model; by default nothing is waited for.

        Raises:
          ServingError: with status FAILED_PRECONDITION, if a label may not point where it does (nothing is changed
            then); UNKNOWN, if a new model has no version that loads (it is tried again at every `poll`).
        """
        with self._lock:
            available = {name: versions.available for name, versions in self._models.items()}
            self._labels = assign_labels(
                settings,
                current=self._labels,
                available=available,
                allow_unavailable=self._allow_unavailable_labels,
            )
            models = {model.name: self._follow(model) for model in settings}
            new = [name for name in models if name not in self._models]
            removed = {name: versions for name, versions in self._models.items() if name not in models}
            self._models, self._removed = models, {**self._removed, **removed}
            for versions in removed.values():
                versions.close()
                versions.return_memory()
            for name in new:
                self._removed.pop(name, None)
                models[name].poll()
        self._await_versions([models[name] for name in new], is_over)
        failures = {name: models[name].failures() for name in new if not models[name].available}
        if failures:
            raise ServingError(describe_unavailable(failures), status="UNKNOWN")

    def _await_versions(self, models: list[ModelVersions], is_over: Callable[[], bool]) -> None:
        """Look again for models without a version, until each has one that loads or that does not, as TF Serving does."""
        while not is_over():
            known = self._models.values()
            models = [model for model in models if model in known and not model.available and not model.failures()]
            if not models:
                return
            time.sleep(_LOOK_S)
            with self._lock:
                for model in models:
                    model.poll()

    def failures(self, model_name: str) -> dict[int, str]:
        """Return why versions of a model that are wanted do not load."""
        return self._models[model_name].failures() if model_name in self._models else {}

    def poll(self) -> None:
        """Look for new versions of every model, and give back the memory of models that were removed."""
        with self._lock:
            for versions in self._removed.values():
                versions.return_memory()
            for name, versions in self._models.items():
                try:
                    versions.poll()
                except Exception:  # a directory that vanishes while it is read must not end the polling
                    logger.exception("Looking for versions of model %s failed", name)

    def find(self, spec: model_pb2.ModelSpec) -> LoadedModel:
        """Return the loaded version that `spec` asks for."""
        versions = self._models.get(spec.name)
        available = {} if versions is None else versions.available
        return find_model(spec, available=available, labels=self._labels.get(spec.name, {}))

    def predict(
        self, request: predict_pb2.PredictRequest, *, timeout_s: float | None = None
    ) -> predict_pb2.PredictResponse:
        if not request.HasField("model_spec"):
            raise ServingError("Missing ModelSpec", status="INVALID_ARGUMENT")
        return run_predict(self.find(request.model_spec), request, timeout_s=timeout_s)

    def refuse_examples(self, spec: model_pb2.ModelSpec, method: str) -> ServingError:
        """Return why a model cannot be asked with tf.Examples; a model that is not served is raised as ever."""
        return refuse_examples(self.find(spec), signature_name=spec.signature_name, method=method)

    def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        check_metadata_request(request)
        return describe_model(self.find(request.model_spec))

    def status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        known = {**self._removed, **self._models}
        return report_states(request, states={name: versions.states() for name, versions in known.items()})

    def close(self) -> None:
        """Let go of every model."""
        with self._lock:
            for versions in self._models.values():
                versions.close()

    def _follow(self, model: ModelSettings) -> ModelVersions:
        versions = self._models.get(model.name) or self._removed.get(model.name)
        if versions is None:
            return ModelVersions(
                model.base_path,
                model_name=model.name,
                policy=model.policy,
                retries=self._retries,
                scheduler=self._scheduler,
            )
        versions.base_path, versions.policy = model.base_path, model.policy
        return versions


class ConfigFile:
    """A model config file that is read again when it has changed, or when the server could not follow it before."""

    def __init__(self, path: Path, models: ServedModels):
        self._path, self._models = path.absolute(), models  # the working directory may change
        self._followed = b""
        self._complaint = ""

    def load(self, *, is_over: Callable[[], bool] = lambda: True) -> None:
        """Read the file and follow it; of models without a version, wait for the first until `is_over`.

        Raises:
          ServingError: if the file is wrong, or a model does not load.
        """
        # As it was before: what is written while models load, which may take long, is followed at the next look.
        content = self._path.read_bytes() if self._path.is_file() else b""
        self._models.configure(read_model_config_file(self._path), is_over=is_over)
        self._followed = content

    def poll(self) -> None:
        """Follow the file if it has changed; where that fails, log why and keep what is served."""
        try:
            if self._path.read_bytes() != self._followed:
                self.load()
            self._complaint = ""
        except (ServingError, OSError) as error:
            if str(error) != self._complaint:
                logger.warning("Model config %s is not followed: %s", self._path, error)
            self._complaint = str(error)
