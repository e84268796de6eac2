"""Merging of requests: the parameters file, the tensors, and the queues."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from echo_model import wait_until

from softprompt_tf.errors import ServingError
from softprompt_tf.export.server.batch_tensors import count_rows, cut_rows, join_rows, merge_rows, split_rows
from softprompt_tf.export.server.batching import BatchScheduler, VersionBatcher
from softprompt_tf.export.server.batching_parameters import BatchingParameters, read_batching_parameters

WAIT_S = 20


def refusal(function, *arguments, **keywords):
    with pytest.raises(ServingError) as caught:
        function(*arguments, **keywords)
    return caught.value.status, str(caught.value)


# === Parameters ===

FULL_FILE = """
# comments are allowed
max_batch_size { value: 64 }
batch_timeout_micros { value: 2000 }
max_enqueued_batches { value: 3 }
num_batch_threads { value: 2 }
thread_pool_name { value: "pool" }
allowed_batch_sizes: 1
allowed_batch_sizes: 8
allowed_batch_sizes: 64
pad_variable_length_inputs: true
enable_large_batch_splitting { value: true }
max_execution_batch_size { value: 32 }
"""


def write(path, text):
    path.write_text(text)
    return path


def test_a_parameters_file_of_tf_serving_is_read(tmp_path):
    assert read_batching_parameters(write(tmp_path / "b", FULL_FILE)) == BatchingParameters(
        max_batch_size=64,
        batch_timeout_micros=2000,
        max_enqueued_batches=3,
        num_batch_threads=2,
        thread_pool_name="pool",
        allowed_batch_sizes=(1, 8, 64),
        pad_variable_length_inputs=True,
        enable_large_batch_splitting=True,
        max_execution_batch_size=32,
    )


def test_what_a_file_leaves_out_has_the_default_of_tf_serving(tmp_path):
    parameters = read_batching_parameters(write(tmp_path / "b", ""))

    assert (parameters.max_batch_size, parameters.batch_timeout_micros, parameters.max_enqueued_batches) == (
        1000,
        0,
        10,
    )
    assert parameters.threads >= 1


BAD_FILES = {
    "no such field": ("max_batch { value: 1 }", "Invalid protobuf file: '{}' (at 1:1 : "),
    "not wrapped": ("max_batch_size: 4", "Invalid protobuf file: '{}' (at 1:17 : "),
    "no rows": ("max_batch_size { value: 0 }", "max_batch_size must be positive; was 0"),
    "no queue": ("max_enqueued_batches { value: 0 }", "max_enqueued_batches must be positive; was 0"),
    "no threads": ("num_batch_threads { value: 0 }", "num_batch_threads must be positive; was 0"),
    "negative wait": ("batch_timeout_micros { value: -1 }", "batch_timeout_micros must be non-negative; was -1"),
    "last size": (
        "max_batch_size { value: 32 } allowed_batch_sizes: 8",
        "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 8; expected 32",
    ),
    "last size, default": (
        "allowed_batch_sizes: 8",
        "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 8; expected 1000",
    ),
    "not increasing": (
        "max_batch_size { value: 8 } allowed_batch_sizes: 8 allowed_batch_sizes: 8",
        "allowed_batch_sizes entries must be monotonically increasing",
    ),
    "last size of a run, though requests are split": (
        "max_batch_size { value: 8 } enable_large_batch_splitting { value: true } max_execution_batch_size { value: 4 }"
        " allowed_batch_sizes: 4",
        "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4; expected 8",
    ),
    "runs larger than requests": (
        "max_batch_size { value: 8 } enable_large_batch_splitting { value: true } max_execution_batch_size { value: 9 }",
        "When enable_large_batch_splitting is true, max_batch_size must be greater than or equal to"
        " max_execution_batch_size.",
    ),
}


@pytest.mark.parametrize(("text", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_wrong_parameters_file_is_refused(tmp_path, text, message):
    path = write(tmp_path / "b", text)

    status, got = refusal(read_batching_parameters, path)

    assert status == "INVALID_ARGUMENT"
    assert got.startswith(message.format(path))


def test_a_missing_parameters_file_is_refused(tmp_path):
    path = tmp_path / "none"
    assert refusal(read_batching_parameters, path) == ("NOT_FOUND", f"{path}; No such file or directory")


@pytest.mark.parametrize(("rows", "padded"), [(1, 2), (2, 2), (3, 4), (4, 4), (5, 5)])
def test_rows_are_rounded_up_to_an_allowed_size(rows, padded):
    assert BatchingParameters(max_batch_size=4, allowed_batch_sizes=(2, 4)).rows_with_padding(rows) == padded


# === Tensors ===


def tensors(**values):
    return {name: tf.constant(value) for name, value in values.items()}


def plain(outputs):
    return {name: value.numpy().tolist() for name, value in outputs.items()}


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([], "Batching Run() must have at least one input tensor"),
        ([[2], []], "Batching Run() input tensors must have at least one dimension"),
        ([[2], [3, 1]], "Batching Run() input tensors must have equal 0th-dimension size"),
    ],
    ids=["no input", "scalar", "unequal"],
)
def test_what_cannot_be_merged_is_refused(shapes, message):
    assert refusal(count_rows, shapes) == ("INVALID_ARGUMENT", message)


def test_rows_are_merged_in_order():
    merged = merge_rows([tensors(a=["x"]), tensors(a=["y", "z"])], padding_rows=0, pad_shapes=False)

    assert plain(merged) == {"a": [b"x", b"y", b"z"]}


def test_padding_rows_repeat_the_first_row_of_the_last_request():
    merged = merge_rows([tensors(a=[1]), tensors(a=[2, 3])], padding_rows=2, pad_shapes=False)

    assert plain(merged) == {"a": [1, 2, 3, 2, 2]}


def test_a_last_request_without_rows_is_passed_over_for_padding():
    empty = {"a": tf.zeros([0], tf.int32)}

    assert plain(merge_rows([tensors(a=[7]), empty], padding_rows=1, pad_shapes=False)) == {"a": [7, 7]}


def test_shapes_that_differ_are_refused_without_padding():
    status, message = refusal(merge_rows, [tensors(a=[[1]]), tensors(a=[[1, 2]])], padding_rows=0, pad_shapes=False)

    assert status == "FAILED_PRECONDITION"
    assert message.startswith(
        "Tensors with name 'a' from different tasks have different shapes and padding is turned off."
    )


@pytest.mark.parametrize(
    ("first", "second", "merged"),
    [
        ([[5, 6]], [[1, 2, 3]], [[5, 6, 5], [1, 2, 3]]),
        ([["p"], ["q"]], [["r", "s"]], [[b"p", b"p"], [b"q", b"p"], [b"r", b"s"]]),
        ([[[1.0], [2.0]]], [[[3.0, 4.0]]], [[[1.0, 1.0], [2.0, 1.0]], [[3.0, 4.0], [3.0, 3.0]]]),
    ],
    ids=["numbers", "strings", "two dimensions"],
)
def test_padding_fills_up_with_a_tensors_first_element(first, second, merged):
    assert plain(merge_rows([tensors(a=first), tensors(a=second)], padding_rows=0, pad_shapes=True)) == {"a": merged}


def test_what_cannot_be_padded_is_refused():
    empty, full = {"a": tf.zeros([1, 0])}, tensors(a=[[1.0]])
    assert refusal(merge_rows, [empty, full], padding_rows=0, pad_shapes=True) == (
        "INVALID_ARGUMENT",
        "Got empty tensor in batch of non-empty tensors.",
    )

    deep, deeper = {"a": tf.zeros([1] * 7)}, {"a": tf.zeros([1] * 6 + [2])}
    assert refusal(merge_rows, [deep, deeper], padding_rows=0, pad_shapes=True) == (
        "INVALID_ARGUMENT",
        "Only tensors with rank from 1 to 6 can be padded.",
    )


def test_dtypes_that_differ_are_an_internal_error():
    status, message = refusal(merge_rows, [tensors(a=[1]), tensors(a=["x"])], padding_rows=0, pad_shapes=False)

    assert (status, message.startswith("Tensor concat operation failed: ")) == ("INTERNAL", True)


def test_answers_are_split_and_padding_rows_dropped():
    parts = split_rows(tensors(a=[[1], [2], [3], [9]]), [1, 2], padding_rows=1)

    assert [plain(part) for part in parts] == [{"a": [[1]]}, {"a": [[2], [3]]}]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (1, "Batched output tensor has 0 dimensions"),
        (
            [1, 2],
            "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input tensors",
        ),
    ],
    ids=["scalar", "too few"],
)
def test_outputs_that_cannot_be_split_are_refused(output, message):
    assert refusal(split_rows, tensors(a=output), [1, 1], padding_rows=1) == ("FAILED_PRECONDITION", message)


def test_a_request_that_was_cut_is_put_together_again():
    parts = cut_rows(tensors(a=[1, 2, 3], b=["x", "y", "z"]), [2, 1])

    assert [plain(part) for part in parts] == [{"a": [1, 2], "b": [b"x", b"y"]}, {"a": [3], "b": [b"z"]}]
    assert plain(join_rows(parts)) == {"a": [1, 2, 3], "b": [b"x", b"y", b"z"]}


# === Queues ===


class Recorder:
    """A model that notes the rows of each run; `gate` holds its runs back, a row -1 fails its run."""

    def __init__(self):
        self.runs, self.gate, self.entered = [], threading.Event(), threading.Semaphore(0)
        self.gate.set()

    def __call__(self, inputs):
        values = inputs["a"].numpy().tolist()
        self.runs.append(values)
        self.entered.release()
        assert self.gate.wait(WAIT_S)
        if -1 in values:
            raise ServingError("row -1 is bad", status="INVALID_ARGUMENT")
        if -2 in values:
            raise ZeroDivisionError("by zero")
        return {"a": inputs["a"] * 10}


@pytest.fixture
def model():
    return Recorder()


@pytest.fixture
def schedule():
    """Start a scheduler of one thread, which is closed when the test is over."""
    started = []

    def start(**settings):
        parameters = BatchingParameters(**{"num_batch_threads": 1, "batch_timeout_micros": 30_000_000, **settings})
        started.append(BatchScheduler(parameters))
        return VersionBatcher(started[-1])

    yield start
    for scheduler in started:
        scheduler.close()


@pytest.fixture
def callers():
    with ThreadPoolExecutor(8) as pool:
        yield pool


def ask(batcher, model, *rows, queue="q", **settings):
    return plain(batcher.run(model, tensors(a=list(rows)), queue=queue, **settings))["a"]


def test_concurrent_requests_share_a_run_and_get_their_own_rows(schedule, model, callers):
    batcher = schedule(max_batch_size=4)

    answers = [callers.submit(ask, batcher, model, row, row + 10) for row in (1, 2)]

    assert [answer.result(WAIT_S) for answer in answers] == [[10, 110], [20, 120]]
    assert [sorted(run) for run in model.runs] == [[1, 2, 11, 12]]


def test_a_batch_that_is_not_full_runs_when_its_time_is_over(schedule, model):
    assert ask(schedule(max_batch_size=4, batch_timeout_micros=1000), model, 5) == [50]


def test_a_wait_of_any_length_ends_when_the_batch_is_full(schedule, model, callers):
    batcher = schedule(max_batch_size=2, batch_timeout_micros=2**63 - 1)
    first = callers.submit(ask, batcher, model, 1)
    wait_until(lambda: batcher._scheduler._waiting)

    second = callers.submit(ask, batcher, model, 2)

    assert [answer.result(WAIT_S) for answer in (first, second)] == [[10], [20]]


def test_a_run_is_filled_up_to_an_allowed_size(schedule, model):
    batcher = schedule(max_batch_size=4, batch_timeout_micros=0, allowed_batch_sizes=(4,))

    assert ask(batcher, model, 7, 8) == [70, 80]
    assert model.runs == [[7, 8, 7, 7]]


def test_queues_are_not_merged(schedule, model, callers):
    batcher = schedule(max_batch_size=2, batch_timeout_micros=1000)

    answers = [callers.submit(ask, batcher, model, row, queue=row) for row in (1, 2)]

    assert [answer.result(WAIT_S) for answer in answers] == [[10], [20]]
    assert sorted(model.runs) == [[1], [2]]


def test_versions_are_not_merged(model):
    scheduler = BatchScheduler(BatchingParameters(max_batch_size=2, batch_timeout_micros=1000))

    assert ask(VersionBatcher(scheduler), model, 1) == [10]
    assert ask(VersionBatcher(scheduler), model, 2) == [20]

    scheduler.close()
    assert model.runs == [[1], [2]]


@pytest.mark.parametrize(
    ("bad", "status", "message"),
    [(-1, "INVALID_ARGUMENT", "row -1 is bad"), (-2, "INTERNAL", "ZeroDivisionError: by zero")],
    ids=["a refusal", "a fault"],
)
def test_an_error_fails_every_request_of_the_run_and_no_other(schedule, model, callers, bad, status, message):
    batcher = schedule(max_batch_size=2)

    failed = [callers.submit(refusal, ask, batcher, model, row) for row in (1, bad)]

    assert [call.result(WAIT_S) for call in failed] == [(status, message)] * 2
    assert ask(batcher, model, 3, 4) == [30, 40]


def test_a_request_larger_than_a_batch_is_refused(schedule, model):
    assert refusal(ask, schedule(max_batch_size=2), model, 1, 2, 3) == (
        "INVALID_ARGUMENT",
        "Task size 3 is larger than maximum input batch size 2",
    )


def hold(batcher, model, callers):
    """Occupy the one thread with a run that does not end until the gate opens."""
    model.gate.clear()
    held = callers.submit(ask, batcher, model, 0, 0)
    assert model.entered.acquire(timeout=WAIT_S)
    return held


def test_a_full_queue_is_unavailable_and_free_again_later(schedule, model, callers):
    batcher = schedule(max_batch_size=2, max_enqueued_batches=1)
    held = hold(batcher, model, callers)
    waiting = callers.submit(ask, batcher, model, 1, 1)
    wait_until(lambda: not batcher._queues["q"].is_empty)

    full = refusal(ask, batcher, model, 2)
    model.gate.set()

    assert full == (
        "UNAVAILABLE",
        "The batch scheduling queue to which this task was submitted is full; currently 1 batches enqueued and"
        " max_enqueued_batches is 1",
    )
    assert (held.result(WAIT_S), waiting.result(WAIT_S)) == ([0, 0], [10, 10])
    assert ask(batcher, model, 3, 3) == [30, 30]


def test_a_large_request_is_split_and_put_together(schedule, model):
    batcher = schedule(
        max_batch_size=8, enable_large_batch_splitting=True, max_execution_batch_size=2, batch_timeout_micros=0
    )

    assert ask(batcher, model, 1, 2, 3, 4, 5) == [10, 20, 30, 40, 50]
    assert model.runs == [[1, 2], [3, 4], [5]]


def test_a_large_request_fails_as_a_whole(schedule, model):
    batcher = schedule(
        max_batch_size=8, enable_large_batch_splitting=True, max_execution_batch_size=2, batch_timeout_micros=0
    )

    assert refusal(ask, batcher, model, 1, 2, -1) == ("INVALID_ARGUMENT", "row -1 is bad")


def test_a_large_request_needs_room_for_all_its_parts(schedule, model):
    batcher = schedule(
        max_batch_size=8, enable_large_batch_splitting=True, max_execution_batch_size=2, max_enqueued_batches=2
    )

    assert refusal(ask, batcher, model, 1, 2, 3, 4, 5) == (
        "UNAVAILABLE",
        "The batch scheduling queue to which this task was submitted is full; task size is 5 but scheduling capacity is"
        " only 4",
    )


def test_a_batch_that_nobody_waits_for_any_more_is_not_run(schedule, model, callers):
    batcher = schedule(max_batch_size=2)
    held = hold(batcher, model, callers)
    late = callers.submit(refusal, ask, batcher, model, 1, 1, timeout_s=0.0)
    wait_until(lambda: not batcher._queues["q"].is_empty)
    model.gate.set()

    message = "Run() timeout exceeded while waiting in batching queue"
    assert late.result(WAIT_S) == ("RESOURCE_EXHAUSTED", message)
    assert held.result(WAIT_S) == [0, 0]
    assert model.runs == [[0, 0]]


def test_close_runs_what_waits_and_refuses_the_rest(model, callers):
    scheduler = BatchScheduler(BatchingParameters(max_batch_size=9, batch_timeout_micros=30_000_000))
    batcher = VersionBatcher(scheduler)
    waiting = callers.submit(ask, batcher, model, 1)
    wait_until(lambda: batcher._queues and not batcher._queues["q"].is_empty)

    scheduler.close()

    assert waiting.result(WAIT_S) == [10]
    assert refusal(ask, batcher, model, 2) == ("UNAVAILABLE", "The batch scheduler is closed")


def test_many_callers_with_random_sizes_each_get_their_own_rows(schedule, model):
    generator = np.random.default_rng(5)
    batcher = schedule(max_batch_size=8, batch_timeout_micros=500, num_batch_threads=2, max_enqueued_batches=1000)
    requests = [generator.integers(0, 1000, size=generator.integers(1, 9)).tolist() for _ in range(200)]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda rows: ask(batcher, model, *rows), requests))

    assert answers == [[10 * row for row in rows] for rows in requests]
    assert max(map(len, model.runs)) <= 8
    assert len(model.runs) < len(requests)
