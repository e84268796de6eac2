"""The client against a scripted gRPC server in this process: no model and no TensorFlow are involved."""

import dataclasses
import socket
import threading
import time
from concurrent import futures
from types import SimpleNamespace

import grpc
import ml_dtypes
import numpy as np
import pytest
from fake_model_server import FakeServer, generations, strings, task_outputs

from softprompt_tf.errors import ConfigError, DataError, RowError, ServingError
from softprompt_tf.export.client import wire
from softprompt_tf.export.client.client import PredictionClient
from softprompt_tf.export.client.client_errors import Asked, request_failed
from softprompt_tf.export.client.client_options import ClientOptions, OptionArguments
from softprompt_tf.export.client.client_retries import Attempts
from softprompt_tf.export.client.prediction_calls import PredictionCall
from softprompt_tf.export.client.task_info import TaskInfo

PROMPTS_THAT_DO_NOT_FIT = {
    "1d": np.zeros(3),
    "4d": np.zeros((1, 1, 3, 4)),
    "rows": np.zeros((2, 3, 4)),
    "int": np.zeros((3, 2), int),
    "strings": np.array([["x"]]),
    "ragged": [[1.0, 2.0], [3.0]],
    "no width": np.zeros((3, 0)),
    "none": None,
}

# In the place of two rows.
COLUMNS_THAT_DO_NOT_FIT = {
    "one row": ["x"],
    "three rows": ["x", "y", "z"],
    "no rows": [],
    "bytes": [b"x", b"y"],
    "numbers": [1, 2],
    "nested": [["x"], ["y"]],
    "none in it": ["x", None],
    "none": None,
    "set": {"x", "y"},
    "mapping": {"x": "y", "z": "w"},
    "rank 0": np.array("x"),
    "rank 2": np.array([["x"], ["y"]]),
    "surrogate": ["x", "\ud800"],
}


@pytest.fixture
def server():
    fake = FakeServer()
    yield fake
    fake.stop()


@pytest.fixture
def client(server):
    with PredictionClient(
        server.target, model_name="t5", timeout_s=10, max_batch_size=4, initial_backoff_s=0.01, seed=1
    ) as opened:
        yield opened


def test_generate_returns_text_and_score_per_row(client):
    answers = client.generate(["ab", "\u00e9"], task_id="sst2")

    assert [(answer.text, answer.score) for answer in answers] == [("sst2|ab", -2.0), ("sst2|\u00e9", -2.0)]


def test_task_ids_may_differ_by_row(client):
    answers = client.generate(["x", "y"], task_id=["a", "b"])

    assert [answer.text for answer in answers] == ["a|x", "b|y"]


def test_request_carries_model_signature_and_no_version_by_default(client, server):
    client.generate(["x"], task_id="a")

    spec = server.requests[0].model_spec
    assert (spec.name, spec.signature_name, spec.WhichOneof("choice")) == ("t5", "serving_default", None)


@pytest.mark.parametrize(("name", "value"), [("version", 7), ("version_label", "stable")])
def test_request_carries_version_or_label(server, name, value):
    with PredictionClient(server.target, model_name="t5", **{name: value}) as client:
        client.generate(["x"], task_id="a")

    spec = server.requests[0].model_spec
    assert (spec.version.value if name == "version" else spec.version_label) == value


def test_ten_rows_become_requests_of_four_four_and_two_in_order(client, server):
    answers = client.generate([f"text {row}" for row in range(10)], task_id="a")

    assert [len(request.inputs["text"].string_val) for request in server.requests] == [4, 4, 2]
    assert [answer.text for answer in answers] == [f"a|text {row}" for row in range(10)]


def test_an_empty_list_asks_nobody(client, server):
    assert client.generate([], task_id="a") == []
    assert client.score([], [], task_id="a") == []
    assert client.classify(iter([]), task_id=[]) == []
    assert client.generate_with_prompt(np.zeros((3, 2), np.float32), []) == []
    assert client.generate_with_prompt(np.zeros((0, 3, 2), np.float32), []) == []
    assert server.requests == []


def test_classify_drops_the_padding_labels(client, server):
    server.predict = lambda inputs: {
        "label": strings(b"yes", b"c"),
        "probability": np.array([0.75, 0.5], np.float32),
        "labels": np.array([[b"yes", b"no", b""], [b"a", b"b", b"c"]], object),
        "log_probabilities": np.array([[-0.25, -1.5, -np.inf], [-2, -1, -0.5]], np.float32),
        "status": strings(b"", b""),
    }

    first, second = client.classify(["x", "y"], task_id=["rte", "cb"])

    assert (first.label, first.probability) == ("yes", 0.75)
    assert (first.labels, first.log_probabilities) == (("yes", "no"), (-0.25, -1.5))
    assert (second.labels, second.log_probabilities) == (("a", "b", "c"), (-2.0, -1.0, -0.5))
    assert server.requests[0].model_spec.signature_name == "classify"


def test_tasks_are_asked_by_the_beginning_of_their_ids(client, server):
    server.predict = task_outputs

    assert client.tasks("film/") == [
        TaskInfo("film/en", ("bad", "good"), 64, 5, 1),
        TaskInfo("film/de", (), 512, 32, 2),
    ]
    assert client.tasks()[1].task_id == "/de"
    assert [request.model_spec.signature_name for request in server.requests] == ["tasks"] * 2
    assert [request.inputs["prefix"].string_val[:] for request in server.requests] == [[b"film/"], [b""]]
    with pytest.raises(DataError, match="`prefix` must hold str only. Received: int"):
        client.tasks(3)


def tasks_and_texts(inputs):
    """Return each row's task and text, a space between them."""
    return [task + b" " + text for task, text in zip(inputs["task_id"], inputs["text"], strict=True)]


def labelled(inputs):
    """Label each row with its task and its text."""
    words = tasks_and_texts(inputs)
    rows = len(words)
    return {
        "label": strings(*words),
        "probability": np.ones(rows, np.float32),
        "labels": np.array([[word] for word in words], object),
        "log_probabilities": np.zeros((rows, 1), np.float32),
        "status": strings(*[b""] * rows),
    }


def test_all_tasks_are_asked_of_each_text(client, server):
    server.predict = labelled

    answers = client.classify_all(["x", "y", "z"], ["rte", "cb"])

    assert [{task: answer.label for task, answer in row.items()} for row in answers] == [
        {"rte": "rte x", "cb": "cb x"},
        {"rte": "rte y", "cb": "cb y"},
        {"rte": "rte z", "cb": "cb z"},
    ]
    # Requests of four rows here: those of one text stand together, as it is encoded once for them.
    assert [request.inputs["text"].string_val[:] for request in server.requests] == [
        [b"x", b"x", b"y", b"y"],
        [b"z", b"z"],
    ]


def test_all_tasks_write_of_each_text(client, server):
    server.predict = lambda inputs: {
        "output": strings(*tasks_and_texts(inputs)),
        "score": np.full(len(inputs["text"]), -0.5, np.float32),
        "status": strings(*[b""] * len(inputs["text"])),
    }

    answers = client.generate_all(["x", "y", "z"], iter(["rte", "cb"]))

    assert [{task: answer.text for task, answer in row.items()} for row in answers] == [
        {"rte": "rte x", "cb": "cb x"},
        {"rte": "rte y", "cb": "cb y"},
        {"rte": "rte z", "cb": "cb z"},
    ]
    assert [request.model_spec.signature_name for request in server.requests] == ["serving_default"] * 2
    assert server.requests[0].inputs["text"].string_val[:] == [b"x", b"x", b"y", b"y"]


def test_no_texts_for_all_tasks_ask_nobody(client, server):
    assert client.classify_all([], ["rte"]) == client.generate_all([], ["rte"]) == []
    assert server.requests == []


@pytest.mark.parametrize("texts", [["x"], []])
def test_tasks_may_come_from_an_iterator(client, server, texts):
    server.predict = lambda inputs: {
        "label": inputs["task_id"],
        "probability": np.ones(2, np.float32),
        "labels": inputs["task_id"][:, None],
        "log_probabilities": np.zeros((2, 1), np.float32),
        "status": strings(b"", b""),
    }

    answers = client.classify_all(texts, iter(["rte", "cb"]))

    assert [{task: answer.label for task, answer in row.items()} for row in answers] == [
        {"rte": "rte", "cb": "cb"} for _ in texts
    ]


@pytest.mark.parametrize("tasks", [[], ["rte", "rte"], "rte"])
def test_tasks_that_are_none_or_named_twice_are_errors(client, tasks):
    with pytest.raises(DataError, match="`tasks` must be"):
        client.classify_all(["x"], tasks)


def test_score_sends_targets_and_returns_floats(client, server):
    server.predict = lambda inputs: {
        "log_likelihood": np.array([-len(target) for target in inputs["target"].tolist()], np.float32),
        "status": strings(b"", b""),
    }

    assert client.score(["x", "y"], ["long", "no"], task_id="a") == [-4.0, -2.0]


@pytest.mark.parametrize("batched", [False, True], ids=["one prompt", "a prompt per row"])
def test_generate_with_prompt_sends_one_prompt_per_row(client, server, batched):
    prompt = np.arange(6, dtype=np.float64).reshape(3, 2)
    sent = []

    def predict(inputs):
        sent.append(inputs["prompt"])
        rows = len(inputs["text"])
        return {"output": inputs["text"], "score": np.zeros(rows, np.float32), "status": strings(*[b""] * rows)}

    server.predict = predict

    client.generate_with_prompt(np.stack([prompt] * 5) if batched else prompt, list("abcde"))

    assert [array.shape for array in sent] == [(4, 3, 2), (1, 3, 2)]
    assert sent[0].dtype == np.float32
    np.testing.assert_array_equal(sent[0][3], prompt)


def test_large_prompts_make_smaller_requests(server):
    server.predict = lambda inputs: {
        "output": inputs["text"],
        "score": np.zeros(len(inputs["text"]), np.float32),
        "status": strings(*[b""] * len(inputs["text"])),
    }
    prompt = np.zeros((2, 2**20), np.float32)  # 8 MiB a row: four fill the half of a message

    with PredictionClient(server.target, model_name="t5") as client:
        client.generate_with_prompt(prompt, list("abcdef"))

    assert [request.inputs["prompt"].tensor_shape.dim[0].size for request in server.requests] == [4, 2]


def test_a_bfloat16_prompt_is_sent_as_float32(client, server):
    server.predict = lambda inputs: {
        "output": inputs["text"],
        "score": np.zeros(1, np.float32),
        "status": strings(b""),
    }

    client.generate_with_prompt(np.array([[1.5, -2.0]], ml_dtypes.bfloat16), ["x"])

    assert wire.read_tensor(server.requests[-1].inputs["prompt"]).values == [1.5, -2.0]


@pytest.mark.parametrize("prompt", PROMPTS_THAT_DO_NOT_FIT.values(), ids=PROMPTS_THAT_DO_NOT_FIT)
def test_a_prompt_that_does_not_fit_is_refused_before_it_is_sent(client, server, prompt):
    with pytest.raises(DataError, match=r"`prompt` must be floats \[P, H\] or \[1, P, H\].* Received: "):
        client.generate_with_prompt(prompt, ["x"])
    assert server.requests == []


@pytest.mark.parametrize("values", COLUMNS_THAT_DO_NOT_FIT.values(), ids=COLUMNS_THAT_DO_NOT_FIT)
@pytest.mark.parametrize("name", ["texts", "targets", "task_id"])
def test_a_column_that_does_not_fit_is_refused_before_it_is_sent(client, server, name, values):
    columns = {"texts": ["x", "y"], "targets": ["a", "b"], "task_id": ["a", "b"], name: values}

    with pytest.raises(DataError, match=f"`({name}|task_id|targets)` must "):
        client.score(columns["texts"], columns["targets"], task_id=columns["task_id"])
    assert server.requests == []


MALFORMED_CALLS = {
    "ranks": lambda: PredictionCall("score", {"text": [[b"x"]], "task_id": [b"a"]}, list),
    "rows": lambda: PredictionCall("score", {"text": [b"x", b"y"], "task_id": [b"a"]}, list),
    "dtype": lambda: PredictionCall("score", {"text": [b"x"], "task_id": [3]}, list),
    "no columns": lambda: PredictionCall("score", {}, list),
    "prompt's dtype": lambda: PredictionCall("p", {"text": [b"x"]}, list, prompt=np.zeros((1, 2, 2))),
    "prompt's rank": lambda: PredictionCall("p", {"text": [b"x"]}, list, prompt=np.zeros((2, 2), np.float32)),
    "prompt's rows": lambda: PredictionCall("p", {"text": [b"x"]}, list, prompt=np.zeros((2, 2, 2), np.float32)),
    "no rows": lambda: PredictionCall("p", {"text": []}, list).request(wire.ModelSpec(name="t5"), slice(0, 0)),
}


@pytest.mark.parametrize("make", MALFORMED_CALLS.values(), ids=MALFORMED_CALLS)
def test_a_malformed_call_cannot_be_made(make):
    with pytest.raises(DataError, match=r"must (hold|be|have) .*Received: "):
        make()


def test_a_bad_row_raises_with_statuses_and_the_good_answers(client):
    with pytest.raises(RowError, match="1 of 6 rows could not be answered. Received: row 1: unknown task") as caught:
        client.generate(list("abcdef"), task_id=["t", "nope", "t", "t", "t", "t"])

    assert caught.value.row_status == ["", "unknown task", "", "", "", ""]
    assert caught.value.answers[1] is None
    assert [answer.text for answer in caught.value.answers[2:]] == ["t|c", "t|d", "t|e", "t|f"]
    assert (caught.value.model_name, caught.value.timeout_s) == ("t5", 10)


def test_a_long_list_of_bad_rows_is_cut_in_the_message(client):
    with pytest.raises(RowError, match="8 of 8 .* row 4: unknown task; and 3 more$"):
        client.generate(list("abcdefgh"), task_id="nope")


def test_output_bytes_that_are_not_utf8_are_replaced(client, server):
    server.predict = lambda inputs: {**generations(inputs), "output": strings(b"a\xff")}

    assert client.generate(["x"], task_id="a")[0].text == "a\ufffd"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": None}, "an output `status`. Received: output, score"),
        ({"score": np.zeros(3, np.float32)}, r"Every output must have 1 row\. Received: \{'score': \(3,\)\}"),
        ({"score": strings(b"1")}, "Output `score` must be floats of rank 1"),
        ({"status": np.zeros(1, np.float32)}, "Output `status` must be strings of rank 1"),
    ],
    ids=["no status", "rows", "type of score", "type of status"],
)
def test_an_answer_of_another_kind_of_model_is_an_error(client, server, change, message):
    def predict(inputs):
        outputs = {**generations(inputs), **change}
        return {name: array for name, array in outputs.items() if array is not None}

    server.predict = predict

    with pytest.raises(ServingError, match=message) as caught:
        client.generate(["x"], task_id="a")

    assert caught.value.status == "INTERNAL"
    assert isinstance(caught.value.__cause__, DataError)


def test_bad_arguments_are_refused_before_any_request(client, server):
    with pytest.raises(DataError, match="`texts` must be a sequence of str. Received: one 'a text'"):
        client.generate("a text", task_id="a")
    with pytest.raises(DataError, match="`task_id` must have one entry per text. Received: 1 for 2 texts"):
        client.generate(["x", "y"], task_id=["a"])
    with pytest.raises(DataError, match="`targets` must have one entry per text. Received: 3 for 2 texts"):
        client.score(["x", "y"], ["a", "b", "c"], task_id="a")
    with pytest.raises(DataError, match="lone surrogate at character 0 of row 4"):
        client.generate(["a", "b", "c", "d", "\udc80"], task_id="a")
    assert server.requests == []


def test_unavailable_is_retried_until_it_answers(client, server):
    server.refusals = [grpc.StatusCode.UNAVAILABLE] * 3

    assert client.generate(["x"], task_id="a")[0].text == "a|x"
    assert len(server.requests) == 4


def test_unavailable_ends_after_the_last_retry(client, server):
    server.refusals = [grpc.StatusCode.UNAVAILABLE] * 9

    with pytest.raises(
        ServingError, match=r"UNAVAILABLE after 4 attempts \(timeout_s=10\). Received: not now"
    ) as caught:
        client.generate(["x"], task_id="a")

    assert len(server.requests) == 4
    assert caught.value.status == "UNAVAILABLE"


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNKNOWN,
    ],
    ids=lambda code: code.name,
)
def test_other_statuses_are_not_retried(client, server, code):
    server.refusals = [code] * 2

    with pytest.raises(ServingError, match=f"did not answer: {code.name} .* Received: not now") as caught:
        client.generate(["x"], task_id="a")

    assert len(server.requests) == 1
    assert (caught.value.status, caught.value.model_name, caught.value.timeout_s) == (code.name, "t5", 10)
    assert caught.value.target == server.target
    assert isinstance(caught.value.__cause__, grpc.RpcError)


def test_an_unknown_version_label_is_told_with_what_names_labels():
    class Refused(grpc.RpcError):
        def code(self):
            return grpc.StatusCode.INVALID_ARGUMENT

        def details(self):
            return "Unrecognized servable version label: stable"  # TF Serving's words

    error = request_failed(Refused(), Asked("here:1", "t5", 10), SimpleNamespace(count=1, has_budget=True))

    assert str(error).endswith(
        "Received: Unrecognized servable version label: stable. Hint: the server's `--model-config-file` names labels; "
        "without one, leave `version_label` out."
    )


def test_the_waits_between_retries_double_and_are_set_by_the_seed(client, server, monkeypatch):
    waits = []
    monkeypatch.setattr("softprompt_tf.export.client.client.time.sleep", waits.append)
    server.refusals = [grpc.StatusCode.UNAVAILABLE] * 4
    with pytest.raises(ServingError):
        client.generate(["x"], task_id="a")

    factors = [wait / (0.01 * 2**retry) for retry, wait in enumerate(waits)]

    assert len(waits) == 3
    assert all(0.5 <= factor <= 1.5 for factor in factors)
    assert factors[0] == pytest.approx(0.5 + 0.13436424411240122)  # the first draw of random.Random(1)


def test_a_slow_server_meets_the_deadline(server):
    server.delay_s = 1.0
    client = PredictionClient(server.target, model_name="t5", timeout_s=0.2)
    start = time.monotonic()

    with client, pytest.raises(ServingError, match="DEADLINE_EXCEEDED .* raise `timeout_s`") as caught:
        client.generate(["x"], task_id="a")

    assert time.monotonic() - start < 0.9
    assert caught.value.timeout_s == 0.2


def test_retries_stay_within_the_timeout(server):
    server.refusals = [grpc.StatusCode.UNAVAILABLE] * 99
    client = PredictionClient(server.target, model_name="t5", timeout_s=0.5, max_retries=99, initial_backoff_s=0.1)
    start = time.monotonic()

    with client, pytest.raises(ServingError, match="UNAVAILABLE"):
        client.generate(["x"], task_id="a")

    assert time.monotonic() - start < 0.6
    assert 2 <= len(server.requests) <= 5


def test_a_missing_server_is_unavailable_with_a_hint():
    client = PredictionClient("127.0.0.1:1", model_name="t5", timeout_s=5, max_retries=1, initial_backoff_s=0.01)

    with client, pytest.raises(ServingError, match="UNAVAILABLE after 2 attempts .* Hint: is a model server listening"):
        client.generate(["x"], task_id="a")


def test_a_server_that_starts_late_is_reached_by_a_retry():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    client = PredictionClient(f"127.0.0.1:{port}", model_name="t5", timeout_s=10, max_retries=6)
    late = grpc.server(futures.ThreadPoolExecutor(1))
    fake = FakeServer()

    def start_late():
        time.sleep(0.3)
        late.add_generic_rpc_handlers((fake,))
        late.add_insecure_port(f"127.0.0.1:{port}")
        late.start()

    thread = threading.Thread(target=start_late)
    thread.start()
    with client:
        answers = client.generate(["x"], task_id="a")
    thread.join()
    late.stop(0).wait()
    fake.stop()

    assert answers[0].text == "a|x"


def test_one_client_serves_many_threads(client):
    def ask(number):
        return [answer.text for answer in client.generate([f"t{number}"] * 6, task_id=str(number))]

    with futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(64)))

    assert answers == [[f"{number}|t{number}"] * 6 for number in range(64)]


def test_a_failed_later_request_fails_the_call(client, server):
    calls = iter([False, True])

    def predict(inputs):
        if next(calls):
            raise RuntimeError("boom")
        return generations(inputs)

    server.predict = predict

    with pytest.raises(ServingError, match="boom"):
        client.generate(list("abcdef"), task_id="a")


def test_status_lists_versions_and_state_names(client):
    assert client.status() == [(2, "AVAILABLE"), (1, "END")]


def test_a_closed_client_says_so(server):
    client = PredictionClient(server.target, model_name="t5")
    client.close()

    with pytest.raises(ServingError, match="This client is closed"):
        client.generate(["x"], task_id="a")


def test_a_client_that_is_closed_just_before_a_request_says_so(server, monkeypatch):
    client = PredictionClient(server.target, model_name="t5")
    monkeypatch.setattr(Attempts, "next_timeout_s", lambda attempts: client.close() or 5.0)

    with pytest.raises(ServingError, match="This client is closed") as error:
        client.generate(["x"], task_id="a")
    assert error.value.status == "CANCELLED"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"timeout_s": 0}, "`timeout_s` must be greater than 0. Received: timeout_s=0"),
        ({"max_batch_size": 0}, "`max_batch_size` must be greater than 0"),
        ({"max_retries": -1}, "`max_retries` must be greater than -1"),
        ({"initial_backoff_s": 0}, "`initial_backoff_s` must be greater than 0"),
        ({"max_concurrent_requests": 0}, "`max_concurrent_requests` must be greater than 0"),
        ({"attempt_timeout_s": 0}, "`attempt_timeout_s` must be greater than 0"),
        (
            {"retry_budget": 0.5},
            "`retry_budget` must be at least 1. Received: retry_budget=0.5. For no retries give max_re",
        ),
        ({"max_backoff_s": 0.01}, "`max_backoff_s` must be at least `initial_backoff_s`. Received: 0.01, 0.1"),
        ({"version": 1, "version_label": "stable"}, "`version` or `version_label`, not both"),
    ],
    ids=[
        "timeout",
        "batch",
        "retries",
        "backoff",
        "requests",
        "attempt",
        "budget",
        "last backoff",
        "version and label",
    ],
)
def test_a_setting_out_of_range_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        PredictionClient("localhost:1", model_name="t5", **settings)


NO_NUMBERS = ("5", None, True)
OPTIONAL = ("attempt_timeout_s", "seed", "version", "version_label")
NUMBERS = [field.name for field in dataclasses.fields(ClientOptions) if field.name not in OPTIONAL]
WHOLE_NUMBERS = ("max_batch_size", "max_concurrent_requests", "max_retries", "seed", "version")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *(
            ({name: value}, f"`{name}` must be a .*number.*{name}={value!r}")
            for name in NUMBERS
            for value in NO_NUMBERS
        ),
        *(({name: 2.5}, f"`{name}` must be a whole number. Received: {name}=2.5.") for name in WHOLE_NUMBERS),
        ({"attempt_timeout_s": "1"}, "`attempt_timeout_s` must be a number. Received: attempt_timeout_s='1'."),
        ({"max_backoff_s": float("nan")}, "`max_backoff_s` must be greater than 0. Received: max_backoff_s=nan."),
        ({"seed": [1]}, r"`seed` must be a whole number. Received: seed=\[1\]."),
        ({"version": "3"}, "`version` must be a whole number. Received: version='3'."),
        ({"version": -1}, "`version` must be greater than -1."),
        ({"version": 2**63}, "`version` must be at most 9223372036854775807."),
        ({"version_label": 5}, "`version_label` must be a string of valid Unicode, and not empty. Received: .*=5."),
        ({"version_label": ""}, "`version_label` must be a string of valid Unicode, and not empty."),
        (
            {"model_name": None},
            "`model_name` must be a string of valid Unicode, and not empty. Received: model_name=None.",
        ),
        ({"model_name": "\udcff"}, "`model_name` must be a string of valid Unicode"),
        ({"target": 8500}, "`target` must be a string of valid Unicode, and not empty. Received: target=8500."),
        ({"credentials": "ca.crt"}, "`credentials` must be what `tls_credentials` returns, or None. Received: str."),
    ],
)
def test_an_argument_of_another_type_is_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        PredictionClient(**{"target": "localhost:1", "model_name": "t5", **arguments})


@pytest.mark.parametrize("timeout_s", ["5", [1], True])
def test_a_deadline_of_a_call_that_is_no_number_is_refused(client, server, timeout_s):
    with pytest.raises(ConfigError, match="`timeout_s` must be a number. Received: timeout_s="):
        client.generate(["x"], task_id="a", timeout_s=timeout_s)

    assert server.requests == []


def test_numbers_of_numpy_are_numbers(server):
    options = {
        "timeout_s": np.float32(10),
        "attempt_timeout_s": np.float32(9),
        "max_batch_size": np.int64(1),
        "version": np.int64(2),
        "seed": np.int64(3),
        "retry_budget": np.float32(1),
    }
    with PredictionClient(server.target, model_name="t5", **options) as client:
        client.generate(["x", "y"], task_id="a")

    assert [request.model_spec.version.value for request in server.requests] == [2, 2]


def test_every_option_can_be_given_by_keyword():
    assert set(OptionArguments.__annotations__) == {field.name for field in dataclasses.fields(ClientOptions)}


def test_a_call_may_have_a_deadline_of_its_own(client, server):
    server.delay_s = 5.0

    with pytest.raises(ServingError, match=r"DEADLINE_EXCEEDED \(timeout_s=0.2\)") as caught:
        client.generate(["x"], task_id="a", timeout_s=0.2)

    assert caught.value.timeout_s == 0.2
    assert isinstance(caught.value.__cause__, grpc.RpcError)


def test_a_deadline_of_a_call_must_be_positive(client, server):
    with pytest.raises(ConfigError, match="`timeout_s` must be greater than 0. Received: timeout_s=-1"):
        client.status(timeout_s=-1)


def test_the_deadline_reaches_the_server_as_a_cancellation(client, server):
    server.delay_s = 5.0

    with pytest.raises(ServingError):
        client.generate(["x"], task_id="a", timeout_s=0.2)

    assert server.cancellations.get(timeout=5) is server.requests[0]


def test_closing_ends_a_call_of_another_thread_and_cancels_it_on_the_server(server):
    server.delay_s = 20.0
    client = PredictionClient(server.target, model_name="t5")
    with futures.ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.generate, ["x"], task_id="a")
        while not server.requests:
            time.sleep(0.01)

        client.close()

        with pytest.raises(ServingError, match="did not answer: CANCELLED"):
            call.result(timeout=5)
    assert server.cancellations.get(timeout=5) is server.requests[0]


@pytest.fixture
def two_servers():
    servers = [FakeServer(), FakeServer()]
    yield servers
    for server in servers:
        server.stop()


def test_several_addresses_take_turns(two_servers):
    first, second = two_servers

    with PredictionClient(f"ipv4:{first.target},{second.target}", model_name="t5", max_batch_size=1) as client:
        client.generate(["x"] * 20, task_id="a")

    assert len(first.requests) + len(second.requests) == 20
    assert abs(len(first.requests) - len(second.requests)) <= 10  # the first ones go to whichever is connected first


def test_when_one_of_two_servers_stops_the_other_answers(two_servers):
    first, second = two_servers

    with PredictionClient(f"ipv4:{first.target},{second.target}", model_name="t5") as client:
        client.generate(["x"], task_id="a")
        first.stop()
        answers = [client.generate([text], task_id="a")[0].text for text in "abcdef"]

    assert answers == [f"a|{text}" for text in "abcdef"]
    assert len(second.requests) >= 6
