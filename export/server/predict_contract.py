"""Answer a predict request with a loaded version, or refuse it as TF Serving does.

Statuses and texts are TF Serving's, so that a client which handles them here handles them there. Every refusal is a
`ServingError` whose `status` is the gRPC status' name.

Source: tensorflow/serving servables/tensorflow/predict_util.cc, core/basic_manager.cc, model_servers/server_core.cc;
tensorflow/tensorflow cc/saved_model/util.cc (order and text of the checks).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import grpc
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import model_pb2, predict_pb2

from softprompt_tf.errors import ServingError, VerificationError
from softprompt_tf.export.server.batch_tensors import Tensors
from softprompt_tf.export.server.batching import VersionBatcher
from softprompt_tf.export.server.wire_tensors import read_tensor, write_tensor

DEFAULT_SIGNATURE = "serving_default"
STATUS_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}
STATUS_CODES = {name: code for code, name in STATUS_NAMES.items()}

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
    """

    name: str
    version: int
    signatures: Mapping[str, SignatureDef]
    functions: Mapping[str, Callable[..., dict[str, tf.Tensor]]]
    batcher: VersionBatcher | None = None


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
    has_label = spec.HasField("version_label")
    if has_label and spec.version_label not in labels:
        raise _refusal("INVALID_ARGUMENT", f"Unrecognized servable version label: {spec.version_label}")
    is_specific = has_label or spec.HasField("version")
    version = labels[spec.version_label] if has_label else spec.version.value
    wanted = f"Specific({spec.name}, {version})" if is_specific else f"Latest({spec.name})"
    model = available.get(version if is_specific else max(available, default=-1))
    if model is None:
        raise _refusal("NOT_FOUND", f"Servable not found for request: {wanted}")
    return model


def find_signature(model: LoadedModel, signature_name: str) -> tuple[str, SignatureDef]:
    """Return the signature's name and definition; the empty name means the default one."""
    name = signature_name or DEFAULT_SIGNATURE
    if name not in model.signatures:
        raise _refusal("FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
    return name, model.signatures[name]


def run_predict(
    model: LoadedModel, request: predict_pb2.PredictRequest, *, timeout_s: float | None = None
) -> predict_pb2.PredictResponse:
    """Check the request's names, run its signature, merged with others where the model has a batcher, and return the outputs.

    Dtypes and shapes are the graph's to check, as in TF Serving: with a batcher, an input that the graph refuses fails
    every request of its run.

    Args:
      model: the version to ask.
      request: what the client sent.
      timeout_s: seconds that the client still waits; None means for ever.
    """
    name, signature = find_signature(model, request.model_spec.signature_name)
    check_input_names(signature, request.inputs)
    output_names = filter_outputs(signature, request.output_filter)
    inputs = {alias: _input_proto(request, signature, alias) for alias in signature.inputs}
    tensors = {alias: read_tensor(alias, inputs[alias]) for alias in sorted(inputs)}
    outputs = _run(model, name, tensors, output_names, timeout_s)
    response = predict_pb2.PredictResponse()
    response.model_spec.name = request.model_spec.name or model.name
    response.model_spec.signature_name = name
    response.model_spec.version.value = model.version
    for alias in output_names:
        response.outputs[alias].CopyFrom(write_tensor(outputs[alias]))
    return response


def refuse_examples(model: LoadedModel, *, signature_name: str, method: str) -> ServingError:
    """Return why a signature cannot be asked with tf.Examples, by a classify, regress or inference request."""
    name = signature_name or DEFAULT_SIGNATURE
    if name not in model.signatures:
        return _refusal("INVALID_ARGUMENT", f"No signature was found with the name: {name}")
    if len(model.signatures[name].inputs) != 1:
        return _refusal("INVALID_ARGUMENT", "Expected one input Tensor.")
    return _refusal("UNIMPLEMENTED", f"This server answers predict requests only. Received: {method}.")


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


def _input_proto(request: predict_pb2.PredictRequest, signature: SignatureDef, alias: str) -> tensor_pb2.TensorProto:
    return request.inputs[alias] if alias in request.inputs else signature.defaults[alias]


def _run(
    model: LoadedModel, signature_name: str, inputs: Tensors, output_names: list[str], timeout_s: float | None
) -> Tensors:
    if signature_name not in model.functions:
        raise _refusal("INVALID_ARGUMENT", f"This server runs signatures with inputs only. Received: {signature_name}.")
    function = model.functions[signature_name]
    aliases = {info.name: alias for alias, info in model.signatures[signature_name].inputs.items()}

    def run(feeds: Tensors) -> Tensors:
        try:
            outputs = function(**{aliases[name]: tensor for name, tensor in feeds.items()})
        except VerificationError as error:
            raise _refusal(error.status or "INTERNAL", error.reason or str(error)) from error
        return {alias: outputs[alias] for alias in output_names}

    feeds = {name: inputs[alias] for name, alias in aliases.items()}
    if model.batcher is None:
        return run(feeds)
    return model.batcher.run(run, feeds, queue=(signature_name, frozenset(output_names)), timeout_s=timeout_s)


def _refusal(status: str, message: str) -> ServingError:
    return ServingError(message, status=status)


def _braced(names: Iterable[str]) -> str:
    return f"{{{','.join(sorted(names))}}}"
