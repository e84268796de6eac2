"""Ask a model server for labels over gRPC with nothing but `tensorflow-serving-api` and `grpcio`, as any service can.

    python grpc_client.py localhost:8500 --model-name t5 --task-id sentiment --text "A lovely film." --text "It rained."

One line a text: the label and its probability, separated by a tab. This library is not imported; its `PredictionClient`
does the same with retries, limits and types. Exit status 1 where the server refuses, or could not answer a row.
"""

import argparse
import struct
import sys
from collections.abc import Sequence
from typing import Any

import grpc
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

DT_STRING = 7  # tensorflow/core/framework/types.proto


def strings_request(model_name: str, signature_name: str, **columns: Sequence[str]) -> predict_pb2.PredictRequest:
    """Return a request whose inputs are columns of strings, [B] each."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model_name
    request.model_spec.signature_name = signature_name
    for name, values in columns.items():
        tensor = request.inputs[name]
        tensor.dtype = DT_STRING
        tensor.tensor_shape.dim.add(size=len(values))
        tensor.string_val.extend(value.encode() for value in values)
    return request


def read_strings(tensor: Any) -> list[str]:
    """Return the values of a string tensor."""
    return [value.decode() for value in tensor.string_val]


def read_floats(tensor: Any) -> list[float]:
    """Return the values of a float32 tensor, which may be written as a field or as bytes."""
    content = tensor.tensor_content
    return list(tensor.float_val) or list(struct.unpack(f"<{len(content) // 4}f", content))


def main() -> int:
    """Ask once, and print the answers."""
    parser = argparse.ArgumentParser(description="labels of texts, from a model server")
    parser.add_argument("target", metavar="HOST:PORT")
    parser.add_argument("--model-name", required=True)
    parser.add_argument("--task-id", required=True)
    parser.add_argument("--text", action="append", required=True)
    arguments = parser.parse_args()
    texts = arguments.text
    request = strings_request(arguments.model_name, "classify", task_id=[arguments.task_id] * len(texts), text=texts)
    try:
        with grpc.insecure_channel(arguments.target) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            outputs = stub.Predict(request, timeout=30).outputs
    except grpc.RpcError as error:
        print(f"{error.code().name}: {error.details()}", file=sys.stderr)
        return 1
    rows = zip(
        *map(read_strings, (outputs["status"], outputs["label"])), read_floats(outputs["probability"]), strict=True
    )
    is_bad = False
    for status, label, probability in rows:
        if status:  # the row has no answer: what stands in its other outputs means nothing
            is_bad = True
            print(status, file=sys.stderr)
        else:
            print(f"{label}\t{probability:.4f}")
    return int(is_bad)


if __name__ == "__main__":
    sys.exit(main())
