"""What a model server answers, as functions: a request and a loaded version enter, a response or an error leaves.

Statuses and texts are TF Serving's, so that a client which handles them here handles them there. Every refusal is a
`ServingError` whose `status` is the gRPC status' name.

Source: tensorflow/serving servables/tensorflow/predict_util.cc, core/basic_manager.cc, model_servers/server_core.cc,
model_servers/get_model_status_impl.cc; tensorflow/tensorflow cc/saved_model/util.cc (order and text of the checks).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import grpc
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
)

from softprompt_tf.errors import ServingError

DEFAULT_SIGNATURE = "serving_default"
STATUS_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}

SignatureDef: TypeAlias = meta_graph_pb2.SignatureDef


@dataclass(frozen=True)
class LoadedModel:
    """One version in memory: its signatures as stored, and the functions that run them."""

    name: str
    version: int
    signatures: Mapping[str, SignatureDef]
    functions: Mapping[str, Callable[..., dict[str, tf.Tensor]]]


@dataclass(frozen=True)
class VersionState:
    """Where one version stands: a ModelVersionStatus state's name, and why it failed, if it did."""

    state: str
    error_code: int = 0
    error_message: str = ""


def find_model(spec: model_pb2.ModelSpec, *, model_name: str, available: Mapping[int, LoadedModel]) -> LoadedModel:
    """Return the version that `spec` asks for: the newest, where it names none."""
    if not spec.name:
        raise _refusal("INVALID_ARGUMENT", "ModelSpec has no name specified.")
    if spec.version_label:
        raise _refusal("INVALID_ARGUMENT", f"Unrecognized servable version label: {spec.version_label}")
    wanted = f"Specific({spec.name}, {spec.version.value})" if spec.HasField("version") else f"Latest({spec.name})"
    version = spec.version.value if spec.HasField("version") else max(available, default=-1)
    if spec.name != model_name or version not in available:
        raise _refusal("NOT_FOUND", f"Servable not found for request: {wanted}")
    return available[version]


def find_signature(model: LoadedModel, signature_name: str) -> tuple[str, SignatureDef]:
    """Return the signature's name and definition; the empty name means the default one."""
    name = signature_name or DEFAULT_SIGNATURE
    if name not in model.functions:
        raise _refusal("FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
    return name, model.signatures[name]


def run_predict(model: LoadedModel, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
    """Check the request, run its signature once, and return the outputs that it asks for."""
    name, signature = find_signature(model, request.model_spec.signature_name)
    check_input_names(signature, request.inputs)
    output_names = filter_outputs(signature, request.output_filter)
    inputs = {alias: _input_proto(request, signature, alias) for alias in signature.inputs}
    check_input_tensors(signature, inputs)
    outputs = _run(model.functions[name], {alias: _parse(alias, tensor) for alias, tensor in inputs.items()})
    response = predict_pb2.PredictResponse()
    response.model_spec.name = request.model_spec.name or model.name
    response.model_spec.signature_name = name
    response.model_spec.version.value = model.version
    for alias in output_names:
        response.outputs[alias].CopyFrom(tf.make_tensor_proto(outputs[alias].numpy()))
    return response


def check_input_names(signature: SignatureDef, sent: Iterable[str]) -> None:
    """Refuse a request with too many, missing or unknown inputs; an input with a default may be missing."""
    got, wanted, defaults = set(sent), set(signature.inputs), set(signature.defaults)
    if len(got) > len(wanted) or (len(got) < len(wanted) and not defaults):
        raise _refusal(
            "INVALID_ARGUMENT",
            f"input size does not match signature: {len(got)}!={len(wanted)} len({_braced(got)}) != len({_braced(wanted)})."
            f" Sent extra: {_braced(got - wanted)}. Missing but required: {_braced(wanted - got)}.",
        )
    for alias in sorted(wanted - got - defaults):
        raise _refusal(
            "INVALID_ARGUMENT",
            f"Signature input alias: {alias}(feed name: {signature.inputs[alias].name}) not found in request and no"
            f" default value provided. Inputs expected to be in the request {_braced(got)}, or default input alias set:"
            f" {','.join(sorted(defaults))}",
        )
    if got - wanted:
        raise _refusal(
            "INVALID_ARGUMENT",
            f"Inputs contains invalid name. Used request inputs: {','.join(sorted(got & wanted))},"
            f" request input: {','.join(sorted(got))}",
        )


def filter_outputs(signature: SignatureDef, output_filter: Iterable[str]) -> list[str]:
    """Return the names of the outputs to send: those of the filter, or all."""
    names: list[str] = []
    for alias in output_filter:
        if alias not in signature.outputs:
            raise _refusal(
                "INVALID_ARGUMENT",
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set"
                f" {_braced(signature.outputs)}.",
            )
        if alias in names:
            raise _refusal("INVALID_ARGUMENT", f"duplicate output tensor alias: {alias}")
        names.append(alias)
    return names or sorted(signature.outputs)


def check_input_tensors(signature: SignatureDef, inputs: Mapping[str, tensor_pb2.TensorProto]) -> None:
    """Refuse a wrong dtype or shape, and inputs whose numbers of rows differ (where dim 0 is the batch).

    TF Serving finds these only while it runs or merges requests, with texts of TensorFlow's; these name the input.
    """
    rows = {}
    for alias in sorted(inputs):
        expected, tensor = signature.inputs[alias], inputs[alias]
        if tensor.dtype != expected.dtype:
            wanted, got = (types_pb2.DataType.Name(dtype) for dtype in (expected.dtype, tensor.dtype))
            raise _refusal("INVALID_ARGUMENT", f"Input `{alias}` must be {wanted}. Received: {got}.")
        wanted_shape, shape = tf.TensorShape(expected.tensor_shape), [dim.size for dim in tensor.tensor_shape.dim]
        if min(shape, default=0) < 0 or not wanted_shape.is_compatible_with(shape):
            raise _refusal("INVALID_ARGUMENT", f"Input `{alias}` must have shape {wanted_shape}. Received: {shape}.")
        if wanted_shape.rank and wanted_shape[0] is None:
            rows[alias] = shape[0]
    if len(set(rows.values())) > 1:
        raise _refusal(
            "INVALID_ARGUMENT",
            f"Batching Run() input tensors must have equal 0th-dimension size. Received: {_sizes(rows)}.",
        )


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
    request: get_model_status_pb2.GetModelStatusRequest, *, model_name: str, states: Mapping[int, VersionState]
) -> get_model_status_pb2.GetModelStatusResponse:
    """Return the state of the version asked, or of all, the newest first."""
    if not request.HasField("model_spec"):
        raise _refusal("INVALID_ARGUMENT", "Missing ModelSpec")
    spec = request.model_spec
    known = states if spec.name == model_name else {}
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


def _input_proto(request: predict_pb2.PredictRequest, signature: SignatureDef, alias: str) -> tensor_pb2.TensorProto:
    return request.inputs[alias] if alias in request.inputs else signature.defaults[alias]


def _parse(alias: str, tensor: tensor_pb2.TensorProto) -> tf.Tensor:
    try:
        return tf.io.parse_tensor(tensor.SerializeToString(), tensor.dtype)
    except tf.errors.OpError as error:
        raise _refusal("INVALID_ARGUMENT", f"tensor parsing error: {alias}") from error


def _run(function: Callable[..., dict[str, tf.Tensor]], inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    try:
        return function(**inputs)
    except tf.errors.OpError as error:
        raise _refusal(STATUS_NAMES.get(error.error_code, "UNKNOWN"), error.message) from error


def _refusal(status: str, message: str) -> ServingError:
    return ServingError(message, status=status)


def _braced(names: Iterable[str]) -> str:
    return f"{{{','.join(sorted(names))}}}"


def _sizes(rows: Mapping[str, int]) -> str:
    return ", ".join(f"`{alias}` has {size}" for alias, size in rows.items())
