"""Read the signatures of a SavedModel without importing TensorFlow."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# Numbers of the DataType enum, tensorflow/core/framework/types.proto.
DTYPE_NAMES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "string",
    9: "int64",
    10: "bool",
    17: "uint16",
    19: "float16",
    22: "uint32",
    23: "uint64",
}
DTYPE_NUMBERS = {name: number for number, name in DTYPE_NAMES.items()}

# The few fields of tensorflow/core/protobuf/meta_graph.proto and framework/tensor_shape.proto that matter here, as
# (name, number, type); "*" = repeated. A map is, on the wire, a repeated entry of key and value.
_MESSAGES = {
    "MetaGraphDef": [("signature_def", 5, "SignatureEntry*")],
    "SignatureEntry": [("key", 1, "string"), ("value", 2, "SignatureDef")],
    "SignatureDef": [("inputs", 1, "TensorEntry*"), ("outputs", 2, "TensorEntry*")],
    "TensorEntry": [("key", 1, "string"), ("value", 2, "TensorInfo")],
    "TensorInfo": [("name", 1, "string"), ("dtype", 2, "int32"), ("tensor_shape", 3, "TensorShape")],
    "TensorShape": [("dim", 2, "Dim*"), ("unknown_rank", 3, "bool")],
    "Dim": [("size", 1, "int64")],
}


class TensorSpec(NamedTuple):
    """One input or output of a signature: `name:index` in the graph, dtype name, dims (None = any; None = any rank)."""

    tensor_name: str
    dtype: str
    shape: tuple[int | None, ...] | None


class Signature(NamedTuple):
    """What a signature takes and gives, by the names that a caller uses."""

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]


def parse_signatures(meta_graph: bytes) -> dict[str, Signature]:
    """Return the signatures that a caller may ask for, by name."""
    message = _meta_graph_class().FromString(meta_graph)
    # "__saved_model_init_op" and its like are the loader's own; nobody can call them.
    entries = [entry for entry in message.signature_def if not entry.key.startswith("__saved_model")]
    return {entry.key: Signature(_specs(entry.value.inputs), _specs(entry.value.outputs)) for entry in entries}


def _specs(entries: Sequence[Any]) -> dict[str, TensorSpec]:
    specs = {}
    for entry in sorted(entries, key=lambda entry: entry.key):
        info = entry.value
        dtype = DTYPE_NAMES.get(info.dtype, f"DataType {info.dtype}")
        dims = tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)
        specs[entry.key] = TensorSpec(info.name, dtype, None if info.tensor_shape.unknown_rank else dims)
    return specs


@functools.cache
def _meta_graph_class() -> Any:
    # In a pool of its own: the same full names may already be registered by tensorflow or tensorflow-serving-api.
    file = descriptor_pb2.FileDescriptorProto(name="signatures.proto", package="signatures", syntax="proto3")
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for name, number, kind in fields:
            _add_field(message, name=name, number=number, kind=kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("signatures.MetaGraphDef"))


def _add_field(message: descriptor_pb2.DescriptorProto, *, name: str, number: int, kind: str) -> None:
    field = message.field.add(name=name, number=number)
    field.label = field.LABEL_REPEATED if kind.endswith("*") else field.LABEL_OPTIONAL
    if kind.rstrip("*") in _MESSAGES:
        field.type, field.type_name = field.TYPE_MESSAGE, f".signatures.{kind.rstrip('*')}"
        return
    field.type = {
        "string": field.TYPE_STRING,
        "int32": field.TYPE_INT32,
        "int64": field.TYPE_INT64,
        "bool": field.TYPE_BOOL,
    }[kind]
