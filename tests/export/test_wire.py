"""The wire messages against TensorFlow's own classes, and the import of the client without TensorFlow."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from fake_model_server import read_array
from google.protobuf.unknown_fields import UnknownFieldSet
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import get_model_status_pb2, model_pb2, predict_pb2

from softprompt_tf.errors import DataError
from softprompt_tf.export.client import wire

ARRAYS = {
    "float32": np.array([[1.5, -2.0, np.inf], [0.0, 3.25, -np.inf]], np.float32),
    "float64": np.array([0.1, 1e300]),
    "int32": np.array([[1], [-7]], np.int32),
    "int64": np.array([2**40, -1], np.int64),
    "bool": np.array([True, False, True]),
    "empty": np.zeros((0, 4), np.float32),
    "scalar": np.array(2.5, np.float32),
}


def test_importing_the_client_imports_neither_tensorflow_nor_keras():
    code = (
        "import sys, softprompt_tf.export.client.client; "
        "print(sorted({name.partition('.')[0] for name in sys.modules} & "
        "{'tensorflow', 'keras', 'keras_hub', 'tensorflow_serving', 'tensorflow_text'}))"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_numbers_written_here_are_read_by_tensorflow(array):
    tensor = wire.TensorProto()

    wire.set_array(tensor, array)

    read = tf.make_ndarray(tensor_pb2.TensorProto.FromString(tensor.SerializeToString()))
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_packed_numbers_of_tensorflow_are_read_here(array):
    theirs = tf.make_tensor_proto(array)

    read = read_array(wire.TensorProto.FromString(theirs.SerializeToString()))

    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype
    assert read.shape == array.shape


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"dtype": wire.DT_FLOAT, "float_val": [1.5, 2.5]}, np.array([1.5, 2.5], np.float32)),
        ({"dtype": wire.DT_DOUBLE, "double_val": [0.1, 0.2]}, np.array([0.1, 0.2])),
        ({"dtype": wire.DT_INT32, "int_val": [1, -2]}, np.array([1, -2], np.int32)),
        ({"dtype": wire.DT_INT64, "int64_val": [1, -(2**40)]}, np.array([1, -(2**40)])),
        ({"dtype": wire.DT_BOOL, "bool_val": [True, False]}, np.array([True, False])),
        ({"dtype": wire.DT_FLOAT, "float_val": [4.0]}, np.array([4.0, 4.0], np.float32)),
        ({"dtype": wire.DT_INT64}, np.array([0, 0])),
        ({"dtype": wire.DT_STRING, "string_val": [b"a"]}, np.array([b"a", b"a"], object)),
    ],
    ids=["float", "double", "int32", "int64", "bool", "last value repeats", "none means zeros", "string repeats"],
)
def test_typed_fields_of_tensorflow_are_read_here(fields, expected):
    theirs = tensor_pb2.TensorProto(**fields)
    theirs.tensor_shape.dim.add(size=2)

    read = read_array(wire.TensorProto.FromString(theirs.SerializeToString()))

    np.testing.assert_array_equal(read, expected)
    assert read.dtype == expected.dtype


def test_strings_keep_bytes_and_shape_in_both_directions():
    array = np.array([[b"a", b"\xff\x00"], ["\u00e9".encode(), b""]], object)
    ours = wire.TensorProto()

    wire.set_array(ours, array)

    assert tf.make_ndarray(tensor_pb2.TensorProto.FromString(ours.SerializeToString())).tolist() == array.tolist()
    theirs = tf.make_tensor_proto(array)
    assert read_array(wire.TensorProto.FromString(theirs.SerializeToString())).tolist() == array.tolist()


def test_set_strings_writes_a_column():
    tensor = wire.TensorProto()

    wire.set_strings(tensor, [b"x", b"y", b""])

    assert read_array(tensor).tolist() == [b"x", b"y", b""]


def test_predict_request_bytes_are_those_of_the_real_message():
    ours = wire.PredictRequest(output_filter=["output", "status"])
    ours.model_spec.name, ours.model_spec.signature_name = "t5", "classify"
    ours.model_spec.version.value = 7
    wire.set_strings(ours.inputs["text"], [b"good"])

    real = predict_pb2.PredictRequest.FromString(ours.SerializeToString())

    assert (real.model_spec.name, real.model_spec.signature_name, real.model_spec.version.value) == (
        "t5",
        "classify",
        7,
    )
    assert list(real.output_filter) == ["output", "status"]
    assert tf.make_ndarray(real.inputs["text"]).tolist() == [b"good"]
    assert len(UnknownFieldSet(real)) == 0
    assert wire.PredictRequest.FromString(real.SerializeToString()) == ours


def test_version_and_label_exclude_each_other_as_in_the_real_message():
    ours = wire.ModelSpec(version_label="stable")
    assert model_pb2.ModelSpec.FromString(ours.SerializeToString()).version_label == "stable"

    ours.version.value = 3

    assert ours.version_label == ""
    assert model_pb2.ModelSpec.FromString(ours.SerializeToString()).WhichOneof("version_choice") == "version"


def test_predict_response_of_the_real_message_is_read():
    real = predict_pb2.PredictResponse()
    real.model_spec.version.value = 2
    real.outputs["score"].CopyFrom(tf.make_tensor_proto([0.5], tf.float32))

    ours = wire.PredictResponse.FromString(real.SerializeToString())

    assert ours.model_spec.version.value == 2
    assert read_array(ours.outputs["score"]).tolist() == [0.5]


def test_every_version_state_of_the_real_message_has_its_name():
    states = get_model_status_pb2.ModelVersionStatus.State

    assert {number: name for name, number in states.items()} == wire.VERSION_STATES


def test_model_status_of_the_real_message_is_read():
    real = get_model_status_pb2.GetModelStatusResponse()
    item = real.model_version_status.add(version=4, state=get_model_status_pb2.ModelVersionStatus.END)
    item.status.error_code, item.status.error_message = 2, "broken"

    ours = wire.GetModelStatusResponse.FromString(real.SerializeToString()).model_version_status[0]

    assert (ours.version, wire.VERSION_STATES[ours.state]) == (4, "END")
    assert (ours.status.error_code, ours.status.error_message) == (2, "broken")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dtype": wire.DT_FLOAT, "tensor_content": b"123"}, "bytes must fill its shape. Received: 3 bytes"),
        ({"dtype": wire.DT_FLOAT, "float_val": [1, 2, 3]}, "values must fill its shape. Received: 3 values"),
        ({"dtype": 21}, "must be of type number .* Received: 21"),
    ],
    ids=["bytes", "values", "type"],
)
def test_a_damaged_tensor_is_refused(fields, message):
    tensor = wire.TensorProto(**fields)
    tensor.tensor_shape.dim.add(size=2)

    with pytest.raises(DataError, match=message):
        read_array(tensor)


@pytest.mark.parametrize(
    "shape", [(2, 10**12), (10**12, 10**12), (-1, -1)], ids=["more than memory", "more than an index", "negative"]
)
@pytest.mark.parametrize("fields", [{"float_val": [1.0]}, {"tensor_content": b"1234"}], ids=["value", "bytes"])
def test_a_tensor_of_more_values_than_a_message_can_mean_is_refused(shape, fields):
    tensor = wire.TensorProto(dtype=wire.DT_FLOAT, **fields)
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)

    with pytest.raises(DataError, match="A tensor must have at most 67,108,864 values. Received: shape="):
        wire.read_tensor(tensor)


def test_an_array_of_an_unknown_type_is_refused():
    with pytest.raises(DataError, match="Received: dtype=complex64"):
        wire.set_array(wire.TensorProto(), np.zeros(2, np.complex64))


@pytest.mark.parametrize(
    ("values", "rows", "message"),
    [
        ("one text", None, "`texts` must be a sequence of str. Received: one 'one text'. Hint: put it into a list"),
        (None, None, "`texts` must be a sequence of str. Received: one None"),
        (["a", 3], None, "must hold str only. Received: int at row 1"),
        (["a", "b"], 3, "one entry per text. Received: 2 for 3 texts"),
        (["a", "b\ud800"], None, "a lone surrogate at character 1 of row 1"),
    ],
    ids=["one str", "none", "a number", "length", "surrogate"],
)
def test_a_column_that_does_not_fit_is_refused(values, rows, message):
    with pytest.raises(DataError, match=message):
        wire.encode_column("texts", values, rows=rows)
