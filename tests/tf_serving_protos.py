"""The configuration messages of TF Serving that tensorflow-serving-api does not carry, to read its text files with.

Source (names, numbers, types): tensorflow/serving tensorflow_serving/config/ssl_config.proto and
monitoring_config.proto, servables/tensorflow/session_bundle_config.proto.
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

_PACKAGE = "tensorflow.serving"
_INT64, _STRING = ".google.protobuf.Int64Value", ".google.protobuf.StringValue"

# Message -> (number, name, type, repeated?)
_MESSAGES = {
    "SSLConfig": [
        (1, "server_key", "string"),
        (2, "server_cert", "string"),
        (3, "custom_ca", "string"),
        (4, "client_verify", "bool"),
    ],
    "PrometheusConfig": [(1, "enable", "bool"), (2, "path", "string")],
    "MonitoringConfig": [(1, "prometheus_config", f".{_PACKAGE}.PrometheusConfig")],
    "BatchingParameters": [
        (1, "max_batch_size", _INT64),
        (2, "batch_timeout_micros", _INT64),
        (3, "max_enqueued_batches", _INT64),
        (4, "num_batch_threads", _INT64),
        (5, "thread_pool_name", _STRING),
        (6, "allowed_batch_sizes", "repeated int64"),
        (7, "pad_variable_length_inputs", "bool"),
    ],
}


def _build_classes():
    field_type = descriptor_pb2.FieldDescriptorProto.Type
    file = descriptor_pb2.FileDescriptorProto(name="tf_serving_config.proto", package=_PACKAGE, syntax="proto3")
    file.dependency.append("google/protobuf/wrappers.proto")
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for number, name, kind in fields:
            field = described.field.add(name=name, number=number, label=3 if kind.startswith("repeated ") else 1)
            kind = kind.removeprefix("repeated ")
            if kind.startswith("."):
                field.type, field.type_name = field_type.Value("TYPE_MESSAGE"), kind
            else:
                field.type = field_type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    wrappers = descriptor_pb2.FileDescriptorProto()
    wrappers_pb2.DESCRIPTOR.CopyToProto(wrappers)
    pool.Add(wrappers)
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES
    }


_CLASSES = _build_classes()


def read_text_proto(message, text):
    """Return the message of that name which `text` describes; an unknown field is an error, as on the server."""
    return text_format.Parse(text, _CLASSES[message]())
