"""A prompt of another width is refused before it is sent: the width is asked once, and asked again before a refusal."""

import asyncio

import grpc
import numpy as np
import pytest
from fake_model_server import FakeServer, strings
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2

from softprompt_tf.errors import DataError, ServingError
from softprompt_tf.export.client import wire
from softprompt_tf.export.client.async_client import AsyncPredictionClient
from softprompt_tf.export.client.client import PredictionClient
from softprompt_tf.export.client.prompt_width import PromptWidth, metadata_request

NARROW, RIGHT = np.zeros((3, 2), np.float32), np.zeros((3, 4), np.float32)


@pytest.fixture
def server():
    fake = FakeServer()
    fake.predict = lambda inputs: {
        "output": inputs["text"],
        "score": np.zeros(len(inputs["text"]), np.float32),
        "status": strings(*[b""] * len(inputs["text"])),
    }
    fake.width = 4
    yield fake
    fake.stop()


def blocking(server, prompts, **options):
    """Ask with each prompt by one client; return the answers or errors."""
    with PredictionClient(server.target, model_name="t5", initial_backoff_s=0.01, **options) as client:
        return [caught(lambda prompt=prompt: client.generate_with_prompt(prompt, ["x"])) for prompt in prompts]


def awaiting(server, prompts, **options):
    async def main():
        async with AsyncPredictionClient(server.target, model_name="t5", initial_backoff_s=0.01, **options) as client:
            answers = []
            for prompt in prompts:
                try:
                    answers.append((await client.generate_with_prompt(prompt, ["x"]))[0].text)
                except (DataError, ServingError) as error:
                    answers.append(error)
            return answers

    return asyncio.run(main())


def caught(ask):
    try:
        return ask()[0].text
    except (DataError, ServingError) as error:
        return error


@pytest.fixture(params=[blocking, awaiting], ids=["blocking", "asyncio"])
def ask(request, server):
    return lambda *prompts, **options: request.param(server, prompts, **options)


def test_a_prompt_of_another_width_is_refused_and_not_sent(ask, server):
    (error,) = ask(NARROW)

    assert isinstance(error, DataError)
    assert str(error) == (
        "`prompt` must be as wide as the served T5, H=4. Received: H=2, shape (1, 3, 2). Send a prompt that was trained for "
        "that T5."
    )
    assert server.requests == []


def test_the_width_is_asked_once(ask, server):
    assert ask(RIGHT, RIGHT, RIGHT) == ["x"] * 3
    assert server.asked_for_width == 1


def test_the_width_is_asked_again_before_a_prompt_is_refused(ask, server):
    answers = []

    def predict(inputs):
        server.width = 2  # from now on a version of another T5 is served
        answers.append(inputs["prompt"].shape)
        return {"output": inputs["text"], "score": np.zeros(1, np.float32), "status": strings(b"")}

    server.predict = predict

    assert ask(RIGHT, NARROW) == ["x", "x"]
    assert answers == [(1, 3, 4), (1, 3, 2)]
    assert server.asked_for_width == 2


def test_the_width_is_asked_again_after_the_server_refused_a_prompt(ask, server):
    server.refusals = [grpc.StatusCode.INVALID_ARGUMENT]

    first, second, third = ask(RIGHT, RIGHT, RIGHT)

    assert (first.status, second, third) == ("INVALID_ARGUMENT", "x", "x")
    assert server.asked_for_width == 2


@pytest.mark.parametrize("code", [grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.PERMISSION_DENIED])
def test_a_server_that_does_not_tell_its_signatures_gets_what_comes_and_is_not_asked_again(ask, server, code):
    server.width_refusals = [code]

    assert ask(RIGHT, NARROW) == ["x", "x"]
    assert server.asked_for_width == 1


def test_a_server_without_the_method_gets_what_comes(ask, server):
    server.width = None

    assert ask(NARROW) == ["x"]


def test_a_server_that_is_away_is_an_error_before_the_prompt_is_sent(ask, server):
    server.width_refusals = [grpc.StatusCode.UNAVAILABLE] * 2

    first, second = ask(RIGHT, RIGHT, max_retries=1)

    assert (first.status, second) == ("UNAVAILABLE", "x")
    assert len(server.requests) == 1


def test_nobody_is_asked_for_a_width_without_rows(server):
    with PredictionClient(server.target, model_name="t5") as client:
        assert client.generate_with_prompt(NARROW, []) == []
    assert server.asked_for_width == 0


def test_tensorflows_own_messages_are_read():
    signatures = meta_graph_pb2.SignatureDef(method_name="tensorflow/serving/predict")
    signatures.inputs["prompt"].name, signatures.inputs["prompt"].dtype = "prompt:0", 1
    for size in (-1, -1, 768):
        signatures.inputs["prompt"].tensor_shape.dim.add(size=size)
    signatures.outputs["output"].name = "output:0"
    message = get_model_metadata_pb2.GetModelMetadataResponse()
    message.metadata["signature_def"].Pack(
        get_model_metadata_pb2.SignatureDefMap(signature_def={"generate_with_prompt": signatures})
    )
    width = PromptWidth()

    width.note(wire.GetModelMetadataResponse.FromString(message.SerializeToString()))

    assert not width.must_be_asked(np.zeros((1, 2, 768)))
    assert width.must_be_asked(np.zeros((1, 2, 16)))
    request = metadata_request(wire.ModelSpec(name="t5"))
    theirs = get_model_metadata_pb2.GetModelMetadataRequest.FromString(request.SerializeToString())
    assert (theirs.model_spec.name, list(theirs.metadata_field)) == ("t5", ["signature_def"])


def test_a_model_without_the_signature_says_no_width():
    width = PromptWidth()

    width.note(wire.GetModelMetadataResponse())

    assert not width.must_be_asked(np.zeros((1, 2, 16)))
    width.check(np.zeros((1, 2, 16)))


def test_a_width_that_another_thread_forgets_is_named_in_the_error():
    known = PromptWidth()
    known._width = 4

    class ForgottenMeanwhile:
        @property
        def shape(self):
            known._width = None
            return NARROW.shape

    with pytest.raises(DataError, match=r"H=4\. Received: H=2"):
        known.check(ForgottenMeanwhile())
