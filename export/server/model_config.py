"""Which models a server serves: read and check a model config file or message.

The file is a `ModelServerConfig` message in protobuf's text format, as `tensorflow_model_server --model_config_file`
reads it. Refusals have TF Serving's statuses and texts.

Source: tensorflow/serving model_servers/server_core.cc (ValidateModelConfigList, GetPlatform, UpdateModelVersionLabelMap),
config/model_server_config.proto, sources/storage_path/file_system_storage_path_source.cc (policies).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from tensorflow_serving.config import file_system_storage_path_source_pb2, model_server_config_pb2

from softprompt_tf.errors import ServingError
from softprompt_tf.export.server.batching_parameters import read_text_proto

Labels: TypeAlias = Mapping[str, Mapping[str, int]]  # model -> label -> version

_PLATFORM = "tensorflow"
_FIELDS = "ModelServerConfig::model_type (deprecated) {} ModelServerConfig::model_platform."


@dataclass(frozen=True)
class VersionPolicy:
    """Which of a model's versions are served.

    Attributes:
      kind: "latest", "all" or "specific".
      num_versions: how many of the newest, for "latest".
      versions: their numbers, for "specific".
    """

    kind: Literal["latest", "all", "specific"] = "latest"
    num_versions: int = 1
    versions: frozenset[int] = frozenset()

    def choose(self, found: Collection[int]) -> set[int]:
        """Return the versions to serve out of those that were found."""
        if self.kind == "all":
            return set(found)
        if self.kind == "specific":
            return set(found) & self.versions
        return set(sorted(found, reverse=True)[: max(self.num_versions, 1)])


LATEST = VersionPolicy()


@dataclass(frozen=True)
class ModelSettings:
    """One model of a server: its name, where its versions lie, which are served, and names for some of them."""

    name: str
    base_path: Path
    policy: VersionPolicy = LATEST
    labels: Mapping[str, int] = field(default_factory=dict)


def read_model_config_file(path: str | Path) -> list[ModelSettings]:
    """Read a model config file.

    Raises:
      ServingError: with status INVALID_ARGUMENT, if the file is no such message or breaks a rule; NOT_FOUND, if it
        cannot be read.
    """
    return read_model_config(read_text_proto(path, model_server_config_pb2.ModelServerConfig))


def read_model_config(config: model_server_config_pb2.ModelServerConfig) -> list[ModelSettings]:
    """Return the settings in a `ModelServerConfig`.

    Raises:
      ServingError: with status INVALID_ARGUMENT, if a model is listed twice, a path is relative, a platform is missing or is not
        "tensorflow", or the config is none with a list of models.
    """
    if config.WhichOneof("config") != "model_config_list":
        raise _refusal(
            "ServerModelConfig type not supported by HandleReloadConfigRequest."
            " Only ModelConfigList is currently supported"
        )
    settings = []
    names: set[str] = set()
    for model in config.model_config_list.config:
        if model.name in names:
            raise _refusal(f"Illegal to list model {model.name} multiple times in config list")
        names.add(model.name)
        if "://" not in model.base_path and not Path(model.base_path).is_absolute():
            message = f"Expected model {model.name} to have an absolute path or URI; got base_path()={model.base_path}"
            raise _refusal(message)
        _check_is_local(model)
        _check_platform(model)
        policy = _read_policy(model.model_version_policy)
        settings.append(ModelSettings(model.name, Path(model.base_path), policy, dict(model.version_labels)))
    return settings


def assign_labels(
    settings: Iterable[ModelSettings],
    *,
    current: Labels,
    available: Mapping[str, Collection[int]],
    allow_unavailable: bool = False,
) -> dict[str, dict[str, int]]:
    """Return the labels of all models, once it is sure that each may point where it does.

    Args:
      settings: the new settings; their labels replace the current ones.
      current: the labels in force.
      available: model -> the versions that are loaded.
      allow_unavailable: let a label that is new, or stays where it is, point to a version that is not loaded.

    Raises:
      ServingError: with status FAILED_PRECONDITION, if a label may not point to a version that is not loaded.
    """
    assigned: dict[str, dict[str, int]] = {}
    for model in settings:
        for label, version in model.labels.items():
            stays = current.get(model.name, {}).get(label, version) == version
            if version not in available.get(model.name, ()) and not (allow_unavailable and stays):
                raise ServingError(
                    f"Request to assign label to version {version} of model {model.name}, which is not currently"
                    " available for inference",
                    status="FAILED_PRECONDITION",
                )
            assigned.setdefault(model.name, {})[label] = version
    return assigned


def describe_unavailable(failures: Mapping[str, Mapping[int, str]]) -> str:
    """Return TF Serving's sentence for models (name -> version -> why it does not load) that did not come up."""
    items = [
        f"{{{{name: {name} version: {version}}} due to error: {why}}}"
        for name, versions in failures.items()
        for version, why in versions.items()
    ]
    missing = [f"{{{{name: {name}}} due to error: no version found}}" for name in failures if not failures[name]]
    return f"{len(failures)} model(s) did not become available: {{{', '.join([*items, *missing])}}}"


def _check_is_local(model: model_server_config_pb2.ModelConfig) -> None:
    if "://" in model.base_path:
        raise _refusal(
            f"The base path of model {model.name} must be a local directory for this server. Received: {model.base_path}. "
            "Copy the model here, or mount it; TF Serving itself reads remote paths where its build can"
        )


def _check_platform(model: model_server_config_pb2.ModelConfig) -> None:
    if model.model_type and model.model_platform:
        raise _refusal(f"Illegal setting both {_FIELDS.format('and')}")
    if not model.model_type and not model.model_platform:
        raise _refusal(f"Illegal setting neither {_FIELDS.format('nor')}")
    if model.model_type not in (0, model_server_config_pb2.TENSORFLOW):
        raise _refusal(f"ModelServerConfig::model_type choice {model.model_type} not supported.")
    if model.model_platform and model.model_platform != _PLATFORM:
        raise _refusal(f"Model {model.name} requests unsupported platform {model.model_platform}")


def _read_policy(
    policy: file_system_storage_path_source_pb2.FileSystemStoragePathSourceConfig.ServableVersionPolicy,
) -> VersionPolicy:
    match policy.WhichOneof("policy_choice"):
        case "all":
            return VersionPolicy("all")
        case "specific":
            return VersionPolicy("specific", versions=frozenset(policy.specific.versions))
        case _:
            return VersionPolicy("latest", num_versions=max(policy.latest.num_versions, 1))


def _refusal(message: str) -> ServingError:
    return ServingError(message, status="INVALID_ARGUMENT")
