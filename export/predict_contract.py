"""What a model server predicts, as functions: a request and a loaded version enter, a response or an error leaves.

Statuses and texts are TF Serving's, so that a client which handles them here handles them there. Every refusal is a
`ServingError` whose `status` is the gRPC status' name.

Source: tensorflow/serving servables/tensorflow/predict_util.cc, core/basic_manager.cc, model_servers/server_core.cc;
tensorflow/tensorflow cc/saved_model/util.cc (order and text of the checks).
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import grpc
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import model_pb2, predict_pb2

from softprompt_tf.errors import ServingError
from softprompt_tf.export.batch_tensors import Tensors, count_rows
from softprompt_tf.export.batching import VersionBatcher

DEFAULT_SIGNATURE = "serving_default"
STATUS_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}
STATUS_CODES = {name: code for code, name in STATUS_NAMES.items()}
MAX_TENSOR_BYTES = 2**31 - 1  # as of a gRPC message; a few bytes of a TensorProto can ask for any number of them
_STRING_BYTES = 24  # of an element, without what it holds

SignatureDef: TypeAlias = meta_graph_pb2.SignatureDef


@dataclass(frozen=True)
class LoadedModel:
    """One version in memory.

    Attributes:
      name: of the model.
      version: its number.
      signatures: their definitions as stored.
      functions: what runs them.
      batcher: merges requests; None runs each on its own.
      root: the restored object, which owns what the functions use.
    """

    name: str
    version: int
    signatures: Mapping[str, SignatureDef]
    functions: Mapping[str, Callable[..., dict[str, tf.Tensor]]]
    batcher: VersionBatcher | None = None
    root: object = None


def find_model(
    spec: model_pb2.ModelSpec, *, available: Mapping[int, LoadedModel], labels: Mapping[str, int]
) -> LoadedModel:
    """Return the version that `spec` asks for: the newest, where it names none.

    Args:
      spec: of a request.
      available: the loaded versions of the model of that name; none where there is no such model.
      labels: the labels of that model.
    """
    if not spec.name:
        raise _refusal("INVALID_ARGUMENT", "ModelSpec has no name specified.")
    if spec.version_label and spec.version_label not in labels:
        raise _refusal("INVALID_ARGUMENT", f"Unrecognized servable version label: {spec.version_label}")
    is_specific = bool(spec.version_label) or spec.HasField("version")
    version = labels[spec.version_label] if spec.version_label else spec.version.value
    wanted = f"Specific({spec.name}, {version})" if is_specific else f"Latest({spec.name})"
    model = available.get(version if is_specific else max(available, default=-1))
    if model is None:
        raise _refusal("NOT_FOUND", f"Servable not found for request: {wanted}")
    return model


def find_signature(model: LoadedModel, signature_name: str) -> tuple[str, SignatureDef]:
    """Return the signature's name and definition; the empty name means the default one."""
    name = signature_name or DEFAULT_SIGNATURE
    if name not in model.functions:
        raise _refusal("FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
    return name, model.signatures[name]


def run_predict(
    model: LoadedModel, request: predict_pb2.PredictRequest, *, timeout_s: float | None = None
) -> predict_pb2.PredictResponse:
    """Check the request, run its signature, merged with others where the model has a batcher, and return the outputs.

    Args:
      model: the version to ask.
      request: what the client sent.
      timeout_s: seconds that the client still waits; None means for ever.
    """
    name, signature = find_signature(model, request.model_spec.signature_name)
    check_input_names(signature, request.inputs)
    output_names = filter_outputs(signature, request.output_filter)
    inputs = {alias: _input_proto(request, signature, alias) for alias in signature.inputs}
    if model.batcher is not None:
        count_rows([_shape(tensor) for tensor in inputs.values()])
    check_input_tensors(signature, inputs)
    tensors = {alias: _parse(alias, tensor) for alias, tensor in inputs.items()}
    outputs = _run(model, name, tensors, output_names, timeout_s)
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
            wanted, got = (_dtype_name(dtype) for dtype in (expected.dtype, tensor.dtype))
            raise _refusal("INVALID_ARGUMENT", f"Input `{alias}` must be {wanted}. Received: {got}.")
        wanted_shape, shape = tf.TensorShape(expected.tensor_shape), _shape(tensor)
        if tensor.tensor_shape.unknown_rank or min(shape, default=0) < 0 or not wanted_shape.is_compatible_with(shape):
            raise _refusal("INVALID_ARGUMENT", f"Input `{alias}` must have shape {wanted_shape}. Received: {shape}.")
        if math.prod(shape) * _bytes_of(expected.dtype) > MAX_TENSOR_BYTES:
            raise _refusal("INVALID_ARGUMENT", f"Input `{alias}` must take less than 2 GiB. Received: {shape}.")
        if wanted_shape.rank and wanted_shape[0] is None:
            rows[alias] = shape[0]
    if len(set(rows.values())) > 1:
        raise _refusal(
            "INVALID_ARGUMENT",
            f"Batching Run() input tensors must have equal 0th-dimension size. Received: {_sizes(rows)}.",
        )


def _input_proto(request: predict_pb2.PredictRequest, signature: SignatureDef, alias: str) -> tensor_pb2.TensorProto:
    return request.inputs[alias] if alias in request.inputs else signature.defaults[alias]


def _parse(alias: str, tensor: tensor_pb2.TensorProto) -> tf.Tensor:
    try:
        return tf.io.parse_tensor(tensor.SerializeToString(), tensor.dtype)
    except tf.errors.OpError as error:
        raise _refusal("INVALID_ARGUMENT", f"tensor parsing error: {alias}") from error


def _run(
    model: LoadedModel, signature_name: str, inputs: Tensors, output_names: list[str], timeout_s: float | None
) -> Tensors:
    function = model.functions[signature_name]

    def run(tensors: Tensors) -> Tensors:
        try:
            outputs = function(**tensors)
        except tf.errors.OpError as error:
            raise _refusal(STATUS_NAMES.get(error.error_code, "UNKNOWN"), error.message) from error
        return {alias: outputs[alias] for alias in output_names}

    if model.batcher is None:
        return run(inputs)
    return model.batcher.run(run, inputs, queue=(signature_name, frozenset(output_names)), timeout_s=timeout_s)


def _dtype_name(dtype: int) -> str:
    return types_pb2.DataType.Name(dtype) if dtype in types_pb2.DataType.values() else f"DataType {dtype}"


def _bytes_of(dtype: int) -> int:
    return _STRING_BYTES if dtype == types_pb2.DT_STRING else tf.as_dtype(dtype).size


def _shape(tensor: tensor_pb2.TensorProto) -> list[int]:
    return [dim.size for dim in tensor.tensor_shape.dim]


def _refusal(status: str, message: str) -> ServingError:
    return ServingError(message, status=status)


def _braced(names: Iterable[str]) -> str:
    return f"{{{','.join(sorted(names))}}}"


def _sizes(rows: Mapping[str, int]) -> str:
    return ", ".join(f"`{alias}` has {size}" for alias, size in rows.items())
