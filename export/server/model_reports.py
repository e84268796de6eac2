"""Metadata and status messages of a model server's versions.

Source: tensorflow/serving servables/tensorflow/get_model_metadata_impl.cc, model_servers/get_model_status_impl.cc.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from softprompt_tf.errors import ServingError
from softprompt_tf.export.server.predict_contract import LoadedModel


@dataclass(frozen=True)
class VersionState:
    """Where one version stands: a ModelVersionStatus state's name, and why it failed, if it did."""

    state: str
    error_code: int = 0
    error_message: str = ""


def check_metadata_request(request: get_model_metadata_pb2.GetModelMetadataRequest) -> None:
    """Refuse a request without a model, or for other fields than `signature_def`, the only one there is."""
    if not request.HasField("model_spec"):
        raise _refusal("INVALID_ARGUMENT", "Missing ModelSpec")
    if not request.metadata_field:
        raise _refusal("INVALID_ARGUMENT", "GetModelMetadataRequest must specify at least one metadata_field")
    for field in request.metadata_field:
        if field != "signature_def":
            raise _refusal("INVALID_ARGUMENT", f"Metadata field {field} is not supported")


def describe_model(model: LoadedModel) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """Return the signatures of a version as its export stores them."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in model.signatures.items():
        signatures.signature_def[name].CopyFrom(signature)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = model.name
    response.model_spec.version.value = model.version
    response.metadata["signature_def"].Pack(signatures)
    return response


def report_states(
    request: get_model_status_pb2.GetModelStatusRequest, *, states: Mapping[str, Mapping[int, VersionState]]
) -> get_model_status_pb2.GetModelStatusResponse:
    """Return the state of the version asked, or of all, the newest first; `states` holds those of every model.

    A label in the request is passed over, as TF Serving does.
    """
    if not request.HasField("model_spec"):
        raise _refusal("INVALID_ARGUMENT", "Missing ModelSpec")
    spec = request.model_spec
    known = states.get(spec.name, {})
    versions = [spec.version.value] if spec.HasField("version") else sorted(known, reverse=True)
    if not versions:
        raise _refusal("NOT_FOUND", f"Could not find any versions of model {spec.name}")
    if versions[0] not in known:
        raise _refusal("NOT_FOUND", f"Could not find version {versions[0]} of model {spec.name}")
    response = get_model_status_pb2.GetModelStatusResponse()
    for version in versions:
        item = response.model_version_status.add(version=version)
        item.state = get_model_status_pb2.ModelVersionStatus.State.Value(known[version].state)
        item.status.error_code = known[version].error_code
        item.status.error_message = known[version].error_message
    return response


def _refusal(status: str, message: str) -> ServingError:
    return ServingError(message, status=status)
