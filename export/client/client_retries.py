"""Decide when a failed request is sent again, and after how many seconds.

Nothing here sends or sleeps, so the blocking and the asyncio client share it, and tests need no server. A client has
one `RetryBudget`: in an outage every request fails, and without a common limit each would be sent several times.

Source: gRFC A6 "gRPC Retry Design" (grpc/proposal:A6-client-retries.md), "Throttling Retry Attempts": a bucket of
tokens per server that failures empty and answers fill. Here the retry takes the token, so the limit is a count.
"""

import random
import threading
import time
from collections.abc import Callable

from softprompt_tf.export.client.client_options import ClientOptions

TOKENS_PER_ANSWER = 0.1
LONGEST_S = 1e8  # three years: gRPC takes a deadline far beyond, such as infinity, for one that is over


class RetryBudget:
    """A bucket of tokens that all requests of a client share; it starts full.

    Args:
      capacity: tokens that it holds at most. A retry takes one, an answered request puts a tenth of one back.
    """

    def __init__(self, capacity: float):
        self._capacity = self._tokens = float(capacity)
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Take a token for one retry; return whether there was one."""
        with self._lock:
            has_token = self._tokens >= 1 - 1e-9  # ten tenths are a little less than one
            self._tokens -= has_token
            return has_token

    def put_back(self) -> None:
        """Note an answered request."""
        with self._lock:
            self._tokens = min(self._capacity, self._tokens + TOKENS_PER_ANSWER)


class Attempts:
    """The attempts of one request.

    Args:
      options: how often, how soon, and after which failures.
      budget: what the client's requests share.
      jitter: source of the random factor of the waits.
      timeout_s: seconds for all attempts together, from now on.
      clock: seconds since any moment.

    Attributes:
      count: attempts that have failed.
      has_budget: False once a retry was given up because the budget was empty.
    """

    def __init__(
        self,
        options: ClientOptions,
        budget: RetryBudget,
        *,
        jitter: random.Random,
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._options, self._budget, self._jitter, self._clock = options, budget, jitter, clock
        self._deadline = clock() + float(timeout_s)  # a float32 of NumPy would round the clock to it
        self.count = 0
        self.has_budget = True

    def next_timeout_s(self) -> float:
        """Return the seconds that the attempt which starts now may take."""
        left_s = min(max(self._deadline - self._clock(), 0.001), LONGEST_S)
        limit_s = self._options.attempt_timeout_s
        return left_s if limit_s is None else min(left_s, float(limit_s))

    def note_answer(self) -> None:
        """Note that the request was answered."""
        self._budget.put_back()

    def wait_after(self, status: str) -> float | None:
        """Return the seconds to wait before the next attempt, or None if there is none.

        Args:
          status: the gRPC status' name that the attempt ended with.
        """
        self.count += 1
        if self.count > self._options.max_retries or not self._is_retried(status):
            return None
        wait_s = min(self._options.initial_backoff_s * 2 ** (self.count - 1), self._options.max_backoff_s)
        wait_s *= self._jitter.uniform(0.5, 1.5)
        if self._clock() + wait_s >= self._deadline:
            return None
        self.has_budget = self._budget.take()
        return wait_s if self.has_budget else None

    def _is_retried(self, status: str) -> bool:
        # With no limit of its own, an attempt that ran into its deadline has used up the request's time.
        return status == "UNAVAILABLE" or (
            status == "DEADLINE_EXCEEDED" and self._options.attempt_timeout_s is not None
        )
