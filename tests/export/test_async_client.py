"""The asyncio client against a scripted gRPC server in this process."""

import asyncio
import subprocess
import sys
import threading

import grpc
import numpy as np
import pytest
from fake_model_server import FakeServer, generations, strings, task_outputs

from softprompt_tf.errors import ConfigError, DataError, RowError, ServingError
from softprompt_tf.export.client import client as blocking
from softprompt_tf.export.client.async_client import AsyncPredictionClient


@pytest.fixture
def server():
    fake = FakeServer()
    yield fake
    fake.stop()


def run(server, use, **options):
    """Return `await use(client)`, with a client of requests of at most four rows."""

    async def main():
        settings = {"timeout_s": 10, "max_batch_size": 4, "initial_backoff_s": 0.01, "seed": 1, **options}
        async with AsyncPredictionClient(server.target, model_name="t5", **settings) as client:
            return await use(client)

    return asyncio.run(main())


async def wait_for_requests(server, count):
    while len(server.requests) < count:
        await asyncio.sleep(0.01)


async def take_cancellation(server):
    return await asyncio.to_thread(server.cancellations.get, timeout=5)


def test_importing_the_client_imports_neither_tensorflow_nor_keras():
    code = (
        "import sys, softprompt_tf.export.client.async_client; "
        "print(sorted({name.partition('.')[0] for name in sys.modules} & "
        "{'tensorflow', 'keras', 'keras_hub', 'tensorflow_serving', 'tensorflow_text'}))"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"


def test_it_has_the_methods_of_the_blocking_client():
    def public(kind):
        return {name for name in vars(kind) if not name.startswith("_")}

    assert public(AsyncPredictionClient) == public(blocking.PredictionClient)


def test_generate_returns_text_and_score_per_row(server):
    answers = run(server, lambda client: client.generate(["ab", "\u00e9"], task_id=["x", "y"]))

    assert [(answer.text, answer.score) for answer in answers] == [("x|ab", -2.0), ("y|\u00e9", -2.0)]


def test_classify_asks_its_signature(server):
    server.predict = lambda inputs: {
        "label": strings(b"yes"),
        "probability": np.array([0.75], np.float32),
        "labels": np.array([[b"yes", b"no"]], object),
        "log_probabilities": np.array([[-0.25, -1.5]], np.float32),
        "status": strings(b""),
    }

    answers = run(server, lambda client: client.classify(["x"], task_id="a"))

    assert (answers[0].label, answers[0].log_probabilities) == ("yes", (-0.25, -1.5))
    assert server.requests[0].model_spec.signature_name == "classify"


def test_all_tasks_are_asked_of_each_text(server):
    server.predict = lambda inputs: {
        "label": strings(*inputs["task_id"].tolist()),
        "probability": np.ones(4, np.float32),
        "labels": np.array([[b"yes"]] * 4, object),
        "log_probabilities": np.zeros((4, 1), np.float32),
        "status": strings(b"", b"", b"", b""),
    }

    answers = run(server, lambda client: client.classify_all(["x", "y"], ["rte", "cb"]))

    assert [[(task, answer.label) for task, answer in row.items()] for row in answers] == [
        [("rte", "rte"), ("cb", "cb")]
    ] * 2
    assert server.requests[0].inputs["text"].string_val[:] == [b"x", b"x", b"y", b"y"]


def test_tasks_are_asked_by_the_beginning_of_their_ids(server):
    server.predict = task_outputs

    assert [task.task_id for task in run(server, lambda client: client.tasks("film/"))] == ["film/en", "film/de"]
    assert server.requests[0].inputs["prefix"].string_val[:] == [b"film/"]


def test_score_returns_floats(server):
    server.predict = lambda inputs: {
        "log_likelihood": np.array([-len(target) for target in inputs["target"].tolist()], np.float32),
        "status": strings(b"", b""),
    }

    assert run(server, lambda client: client.score(["x", "y"], ["long", "no"], task_id="a")) == [-4.0, -2.0]


def test_generate_with_prompt_sends_one_prompt_per_row(server):
    sent = []

    def predict(inputs):
        sent.append(inputs["prompt"].shape)
        rows = len(inputs["text"])
        return {"output": inputs["text"], "score": np.zeros(rows, np.float32), "status": strings(*[b""] * rows)}

    server.predict = predict

    run(server, lambda client: client.generate_with_prompt(np.zeros((3, 2)), list("abcde")))

    assert sorted(sent) == [(1, 3, 2), (4, 3, 2)]


def test_status_lists_versions_and_state_names(server):
    assert run(server, lambda client: client.status()) == [(2, "AVAILABLE"), (1, "END")]


def test_an_empty_list_asks_nobody(server):
    assert run(server, lambda client: client.generate([], task_id="a")) == []
    assert run(server, lambda client: client.generate_with_prompt(np.zeros((3, 2)), [])) == []
    assert server.requests == []


MALFORMED = {
    "rank of the texts": lambda client: client.classify(np.array([["x"]]), task_id="a"),
    "type of a text": lambda client: client.classify([b"x"], task_id="a"),
    "number of task ids": lambda client: client.classify(["x"], task_id=["a", "b"]),
    "number of targets": lambda client: client.score(["x"], [], task_id="a"),
    "dtype of the prompt": lambda client: client.generate_with_prompt(np.zeros((3, 2), int), ["x"]),
    "rank of the prompt": lambda client: client.generate_with_prompt(np.zeros(3), ["x"]),
    "rows of the prompt": lambda client: client.generate_with_prompt(np.zeros((2, 3, 2)), ["x"]),
}


@pytest.mark.parametrize("ask", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_argument_is_refused_before_it_is_sent(server, ask):
    with pytest.raises(DataError, match="must .* Received: "):
        run(server, ask)
    assert server.requests == []


def test_answers_keep_the_order_of_the_rows_although_the_first_request_is_the_last_to_end(server):
    def predict(inputs):
        if inputs["text"][0] == b"text 0":
            server.pause.wait(0.5)
        return generations(inputs)

    server.predict = predict

    answers = run(server, lambda client: client.generate([f"text {row}" for row in range(10)], task_id="a"))

    assert [answer.text for answer in answers] == [f"a|text {row}" for row in range(10)]
    assert sorted(len(request.inputs["text"].string_val) for request in server.requests) == [2, 4, 4]


@pytest.mark.parametrize("bound", [1, 3])
def test_no_more_requests_are_under_way_than_the_bound(server, bound):
    server.delay_s = 20.0

    async def ask_twice(client):
        both = asyncio.gather(client.generate(["x"] * 16, task_id="a"), client.generate(["y"] * 16, task_id="a"))
        await wait_for_requests(server, bound)
        server.pause.set()
        await both

    run(server, ask_twice, max_concurrent_requests=bound)

    assert len(server.requests) == 8
    assert server.peak == bound


def test_a_bad_row_raises_with_statuses_and_the_good_answers(server):
    task_ids = ["t", "nope", "t", "t", "t", "t"]

    with pytest.raises(RowError, match="1 of 6 rows could not be answered. Received: row 1: unknown task") as caught:
        run(server, lambda client: client.generate(list("abcdef"), task_id=task_ids))

    assert caught.value.answers[1] is None
    assert [answer.text for answer in caught.value.answers[2:]] == ["t|c", "t|d", "t|e", "t|f"]


def test_bad_arguments_are_refused_before_any_request(server):
    with pytest.raises(DataError, match="`texts` must be a sequence of str. Received: one 'a text'"):
        run(server, lambda client: client.generate("a text", task_id="a"))
    assert server.requests == []


def test_an_answer_of_another_kind_of_model_is_an_error(server):
    server.predict = lambda inputs: {"output": strings(b"x")}

    with pytest.raises(ServingError, match="an output `status`. Received: output") as caught:
        run(server, lambda client: client.generate(["x"], task_id="a"))

    assert caught.value.status == "INTERNAL"
    assert isinstance(caught.value.__cause__, DataError)


def test_unavailable_is_retried_until_it_answers(server):
    server.refusals = [grpc.StatusCode.UNAVAILABLE] * 3

    assert run(server, lambda client: client.generate(["x"], task_id="a"))[0].text == "a|x"
    assert len(server.requests) == 4


def test_other_statuses_are_errors_at_once_with_their_cause(server):
    server.refusals = [grpc.StatusCode.NOT_FOUND] * 2

    with pytest.raises(ServingError, match="did not answer: NOT_FOUND .* Received: not now") as caught:
        run(server, lambda client: client.generate(["x"], task_id="a"))

    assert len(server.requests) == 1
    assert (caught.value.status, caught.value.model_name, caught.value.timeout_s) == ("NOT_FOUND", "t5", 10)
    assert caught.value.target == server.target
    assert isinstance(caught.value.__cause__, grpc.aio.AioRpcError)


def test_all_requests_of_a_client_share_one_retry_budget(server):
    server.refusals = [grpc.StatusCode.UNAVAILABLE] * 999

    async def ask_often(client):
        return await asyncio.gather(*(client.generate(["x"], task_id="a") for _ in range(20)), return_exceptions=True)

    failures = run(server, ask_often, retry_budget=5, initial_backoff_s=0.001, max_concurrent_requests=20)

    assert {failure.status for failure in failures} == {"UNAVAILABLE"}
    assert len(server.requests) == 20 + 5


def test_a_call_may_have_a_deadline_of_its_own(server):
    server.delay_s = 5.0

    with pytest.raises(ServingError, match=r"DEADLINE_EXCEEDED \(timeout_s=0.2\)"):
        run(server, lambda client: client.generate(["x"], task_id="a", timeout_s=0.2))


def test_cancelling_the_task_cancels_every_request_on_the_server(server):
    server.delay_s = 20.0

    async def cancel(client):
        task = asyncio.create_task(client.generate(list("abcdefgh"), task_id="a"))
        await wait_for_requests(server, 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return [await take_cancellation(server) for _ in range(2)]

    cancelled = run(server, cancel)

    assert {id(request) for request in cancelled} == {id(request) for request in server.requests}


def test_a_timeout_around_the_call_cancels_it_on_the_server(server):
    server.delay_s = 20.0

    async def give_up(client):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await client.generate(["x"], task_id="a")
        return await take_cancellation(server)

    assert run(server, give_up) is server.requests[0]


def test_a_failed_request_cancels_the_others_of_its_call(server):
    other_is_here = threading.Event()  # else it might be cancelled before the server has heard of it

    def predict(inputs):
        if inputs["text"][0] == b"a":
            other_is_here.wait(20.0)
            raise RuntimeError("boom")
        other_is_here.set()
        server.pause.wait(20.0)
        return generations(inputs)

    server.predict = predict

    async def fail(client):
        with pytest.raises(ServingError, match="boom"):
            await client.generate(list("abcdefgh"), task_id="a")
        while True:  # the failed request itself may be told as cancelled too
            request = await take_cancellation(server)
            if request.inputs["text"].string_val[0] == b"e":
                return True

    assert run(server, fail)


def test_closing_ends_a_call_that_is_under_way(server):
    server.delay_s = 20.0

    async def close(client):
        task = asyncio.create_task(client.generate(["x"], task_id="a"))
        await wait_for_requests(server, 1)
        await client.close()
        with pytest.raises(ServingError, match="This client is closed") as caught:
            await task
        return caught.value.status, await take_cancellation(server)

    assert run(server, close) == ("CANCELLED", server.requests[0])


def test_a_closed_client_says_so(server):
    async def ask_after_close(client):
        await client.close()
        await client.generate(["x"], task_id="a")

    with pytest.raises(ServingError, match="This client is closed"):
        run(server, ask_after_close)


def test_a_client_that_is_closed_just_before_a_request_says_so(server):
    async def ask_as_it_closes(client):
        send = client._predict

        async def closing(*arguments, **settings):
            await client.close()
            return await send(*arguments, **settings)

        client._predict = closing
        await client.generate(["x"], task_id="a")

    with pytest.raises(ServingError, match="This client is closed"):
        run(server, ask_as_it_closes)


def test_a_client_outside_of_an_event_loop_is_refused():
    with pytest.raises(ConfigError, match="must be made while its event loop runs. Received: no running event loop"):
        AsyncPredictionClient("localhost:1", model_name="t5")


def test_a_client_is_refused_in_another_event_loop(server):
    async def make():
        return AsyncPredictionClient(server.target, model_name="t5")

    client = asyncio.run(make())

    for ask in (lambda: client.generate(["x"], task_id="a"), lambda: client.status()):
        with pytest.raises(
            ConfigError, match="in the event loop alone in which it was made. Received: a call from another"
        ):
            asyncio.run(ask())
    assert server.requests == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"timeout_s": "5"}, "`timeout_s` must be a number"), ({"target": 8500}, "`target` must be a string")],
)
def test_an_argument_of_another_type_is_refused(arguments, message):
    async def make():
        AsyncPredictionClient(**{"target": "localhost:1", "model_name": "t5", **arguments})

    with pytest.raises(ConfigError, match=message):
        asyncio.run(make())
