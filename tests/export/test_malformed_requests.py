"""Requests drawn at random: whatever is wrong with them, the caller gets a refusal and the next request an answer."""

import grpc
import pytest
import tensorflow as tf
from echo_model import ask_rest, export_echo, predict_request
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from softprompt_tf.export.server.server import ModelServer

REFUSALS = {"INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND"}
GOOD = {"task_id": ["x"], "text": ["a"]}
PREDICT = "/tensorflow.serving.PredictionService/Predict"

DIMS = st.sampled_from([-1, 0, 1, 2, 3, 2**31, 2**62, -(2**63)])
TENSORS = st.builds(
    tensor_pb2.TensorProto,
    dtype=st.sampled_from([0, 1, 3, 7, 9, 10, 14, 19, 20, 21, 107, 999]),
    tensor_shape=st.builds(
        lambda dims, unknown: {"dim": [{"size": size} for size in dims], "unknown_rank": unknown},
        st.lists(DIMS, max_size=4),
        st.booleans(),
    ),
    tensor_content=st.binary(max_size=32),
    string_val=st.lists(st.binary(max_size=8), max_size=4),
    float_val=st.lists(st.floats(width=32), max_size=4),
    int_val=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4),
)
COLUMNS = st.lists(st.binary(max_size=8), max_size=4).map(lambda rows: tf.make_tensor_proto(rows, tf.string))
INPUT_NAMES = st.sampled_from(["task_id", "text", "target", "prompt", "more", ""])
INPUTS = st.one_of(
    st.fixed_dictionaries({"task_id": COLUMNS | TENSORS, "text": COLUMNS | TENSORS}),
    st.fixed_dictionaries({"prompt": TENSORS, "text": COLUMNS}),
    st.dictionaries(INPUT_NAMES, COLUMNS | TENSORS, max_size=4),
)
REQUESTS = st.builds(
    predict_request,
    INPUTS,
    signature=st.sampled_from(["", "serving_default", "classify", "score", "generate_with_prompt", "x" * 2000, "\0"]),
    name=st.sampled_from(["echo"] * 4 + ["", "m", "e" * 5000, "\u00e9"]),
    version=st.sampled_from([None] * 4 + [0, 1, 7, -1, 2**63 - 1]),
    output_filter=st.lists(st.sampled_from(["output", "score", "x", ""]), max_size=3),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["text", "task_id", "b64", "z"]), inner)
    ),
    max_leaves=8,
)
BODIES = st.dictionaries(st.sampled_from(["instances", "inputs", "signature_name", "x"]), JSON)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    base = tmp_path_factory.mktemp("served") / "echo"
    export_echo(base / "1", 1)
    with ModelServer(base, grpc_port=0, rest_port=0) as running:
        yield running


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as opened:
        yield opened


def send(channel, request):
    """Return the code and the text with which a request, a message or bytes, is answered."""
    encoded = request if isinstance(request, bytes) else request.SerializeToString()
    try:
        channel.unary_unary(PREDICT)(encoded, timeout=20)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return "OK", ""


def check(channel, request):
    code, text = send(channel, request)

    assert code in REFUSALS | {"OK"}, text
    assert code == "OK" or 0 < len(text) <= 1024
    assert "Traceback" not in text
    good = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(predict_request(GOOD), timeout=20)
    assert good.outputs["score"].float_val == [101.0]


@given(request=REQUESTS)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_random_request_is_answered_or_refused(channel, request):
    check(channel, request)


@pytest.mark.slow
@given(request=REQUESTS)
@settings(max_examples=1000, deadline=None, derandomize=True)
def test_a_thousand_random_requests_are_answered_or_refused(channel, request):
    check(channel, request)


def test_the_random_requests_reach_every_kind_of_refusal(channel):
    expected, seen = REFUSALS | {"OK"}, set()

    @given(request=REQUESTS)
    @settings(max_examples=2000, deadline=None, derandomize=True, database=None)
    def note(request):
        if seen != expected:  # Hypothesis draws by the modules that are loaded, so some runs need more than others
            seen.add(send(channel, request)[0])

    note()

    assert seen == expected


@given(body=st.binary(max_size=64))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_random_bytes_are_refused(channel, body):
    try:
        predict_pb2.PredictRequest.FromString(body)
    except Exception:
        assert send(channel, body)[0] == "INTERNAL"  # as the C++ server answers what it cannot parse
    else:
        check(channel, body)


@given(body=BODIES)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_random_rest_body_is_answered_or_refused(server, body):
    code, content = ask_rest(server.rest_port, "POST", "/v1/models/echo:predict", body)

    assert code in (200, 400), content
    assert ("error" in content) == (code == 400)
    good = {"instances": [{"task_id": "x", "text": "a"}]}
    assert ask_rest(server.rest_port, "POST", "/v1/models/echo:predict", good)[0] == 200
