"""When a request is sent again: the policy on a clock of the test, the budget, and both against a server that fails."""

import random
import threading
from concurrent import futures

import grpc
import pytest
from fake_model_server import FakeServer

from softprompt_tf.errors import ServingError
from softprompt_tf.export.client.client import PredictionClient
from softprompt_tf.export.client.client_options import ClientOptions
from softprompt_tf.export.client.client_retries import Attempts, RetryBudget


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def server():
    fake = FakeServer()
    yield fake
    fake.stop()


def attempts_of(clock, *, timeout_s=60.0, budget=None, **options):
    return Attempts(
        ClientOptions(**options), budget or RetryBudget(99), jitter=random.Random(3), timeout_s=timeout_s, clock=clock
    )


def test_the_first_attempt_may_take_the_whole_time(clock):
    assert attempts_of(clock, timeout_s=8.0).next_timeout_s() == 8.0


@pytest.mark.parametrize("timeout_s", [float("inf"), 1e12])
def test_an_attempt_without_an_end_has_one_that_grpc_can_count_to(server, clock, timeout_s):
    assert attempts_of(clock, timeout_s=timeout_s).next_timeout_s() == 1e8

    with PredictionClient(server.target, model_name="t5", timeout_s=timeout_s) as client:
        assert len(client.generate(["x"], task_id="a")) == 1


def test_a_later_attempt_may_take_what_is_left(clock):
    attempts = attempts_of(clock, timeout_s=8.0)

    clock.now += 5

    assert attempts.next_timeout_s() == 3.0


def test_an_attempt_may_have_a_limit_of_its_own(clock):
    attempts = attempts_of(clock, timeout_s=8.0, attempt_timeout_s=2.0)
    first = attempts.next_timeout_s()
    clock.now += 7

    assert (first, attempts.next_timeout_s()) == (2.0, 1.0)


def test_waits_double_up_to_the_last_backoff(clock):
    twin = random.Random(3)
    attempts = attempts_of(clock, max_retries=5, initial_backoff_s=0.1, max_backoff_s=0.35)

    waits = [attempts.wait_after("UNAVAILABLE") for _ in range(5)]

    assert waits == pytest.approx([base * twin.uniform(0.5, 1.5) for base in (0.1, 0.2, 0.35, 0.35, 0.35)])


def test_there_is_no_retry_after_the_last_one(clock):
    attempts = attempts_of(clock, max_retries=2)

    waits = [attempts.wait_after("UNAVAILABLE") for _ in range(3)]

    assert [wait is None for wait in waits] == [False, False, True]
    assert attempts.has_budget


def test_there_is_no_retry_that_would_begin_after_the_deadline(clock):
    attempts = attempts_of(clock, timeout_s=1.0, initial_backoff_s=3.0)

    assert attempts.wait_after("UNAVAILABLE") is None


def test_a_deadline_exceeded_is_the_end_without_a_limit_per_attempt(clock):
    assert attempts_of(clock).wait_after("DEADLINE_EXCEEDED") is None


def test_a_deadline_exceeded_is_retried_with_a_limit_per_attempt(clock):
    assert attempts_of(clock, attempt_timeout_s=1.0).wait_after("DEADLINE_EXCEEDED") is not None


@pytest.mark.parametrize("status", [code.name for code in grpc.StatusCode if code.name not in {"OK", "UNAVAILABLE"}])
def test_no_other_status_is_retried(clock, status):
    is_retried = attempts_of(clock, attempt_timeout_s=1.0).wait_after(status) is not None

    assert is_retried == (status == "DEADLINE_EXCEEDED")


def test_a_budget_of_three_gives_three_tokens():
    budget = RetryBudget(3)

    assert [budget.take() for _ in range(5)] == [True, True, True, False, False]


def test_ten_answers_give_one_token_back():
    budget = RetryBudget(1)
    budget.take()

    for _ in range(9):
        budget.put_back()
    after_nine = budget.take()
    budget.put_back()

    assert (after_nine, budget.take(), budget.take()) == (False, True, False)


def test_a_full_budget_holds_no_more_than_its_capacity():
    budget = RetryBudget(2)

    for _ in range(100):
        budget.put_back()

    assert [budget.take() for _ in range(3)] == [True, True, False]


def test_many_threads_take_exactly_what_the_budget_has():
    budget = RetryBudget(500)
    start = threading.Barrier(8)

    def take_some():
        start.wait()
        return sum(budget.take() for _ in range(200))

    with futures.ThreadPoolExecutor(8) as pool:
        taken = sum(task.result() for task in [pool.submit(take_some) for _ in range(8)])

    assert taken == 500


def test_an_empty_budget_ends_the_attempts(clock):
    attempts = attempts_of(clock, budget=RetryBudget(0))

    assert attempts.wait_after("UNAVAILABLE") is None
    assert not attempts.has_budget


def test_an_outage_is_not_multiplied(server):
    server.refusals = [grpc.StatusCode.UNAVAILABLE] * 999
    settings = {"max_retries": 3, "retry_budget": 5, "initial_backoff_s": 0.001, "seed": 1}

    with PredictionClient(server.target, model_name="t5", **settings) as client:
        for _ in range(20):
            with pytest.raises(ServingError):
                client.generate(["x"], task_id="a")

    assert len(server.requests) == 20 + 5  # without a budget: 80


def test_an_empty_budget_is_told(server):
    server.refusals = [grpc.StatusCode.UNAVAILABLE] * 9
    settings = {"max_retries": 9, "retry_budget": 1, "initial_backoff_s": 0.001}

    with (
        PredictionClient(server.target, model_name="t5", **settings) as client,
        pytest.raises(
            ServingError, match="after 2 attempts .* Received: not now. The client's retry budget is used up."
        ),
    ):
        client.generate(["x"], task_id="a")


def test_answers_fill_the_budget_again(server):
    settings = {"retry_budget": 1, "initial_backoff_s": 0.001, "max_batch_size": 1}
    with PredictionClient(server.target, model_name="t5", **settings) as client:
        server.refusals = [grpc.StatusCode.UNAVAILABLE]
        client.generate(["x"], task_id="a")  # uses the one token, and is answered
        client.generate(["x"] * 9, task_id="a")  # nine more answers

        server.refusals = [grpc.StatusCode.UNAVAILABLE]
        answers = client.generate(["x"], task_id="a")

    assert answers[0].text == "a|x"
    assert len(server.requests) == 2 + 9 + 2


def test_a_slow_attempt_is_sent_again_where_it_has_a_limit(server):
    server.delay_s = 5.0
    settings = {"timeout_s": 20, "attempt_timeout_s": 0.3, "max_retries": 1, "initial_backoff_s": 0.001}

    with (
        PredictionClient(server.target, model_name="t5", **settings) as client,
        pytest.raises(ServingError, match=r"DEADLINE_EXCEEDED after 2 attempts \(timeout_s=20\)"),
    ):
        client.generate(["x"], task_id="a")

    assert len(server.requests) == 2
