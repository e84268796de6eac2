"""The prediction client for asyncio: the same questions, answers and errors as `client`, awaited.

The requests of one call run at the same time, up to a bound that all calls of a client share. A cancelled task cancels
its requests on the server too.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

import grpc
import grpc.aio

from softprompt_tf.errors import ConfigError
from softprompt_tf.export.client import prediction_calls as calls
from softprompt_tf.export.client.answers import Classification, Generation
from softprompt_tf.export.client.client_errors import Asked, client_closed, request_failed
from softprompt_tf.export.client.client_options import (
    ClientOptions,
    OptionArguments,
    channel_options,
    check_above,
    check_server,
)
from softprompt_tf.export.client.client_retries import Attempts, RetryBudget
from softprompt_tf.export.client.prompt_width import GET_METADATA, PromptWidth, metadata_request
from softprompt_tf.export.client.task_info import TaskInfo

if TYPE_CHECKING:
    import numpy as np

Answer = TypeVar("Answer")


class AsyncPredictionClient:
    """Ask one model on one server from one event loop; make it inside a coroutine. Many tasks may share it.

    Args:
      target: "host:port" of the server's gRPC port; if the name has several addresses, they take turns.
      model_name: the name under which the server serves the model.
      credentials: `tls_credentials(...)` for a TLS server. Default none: plain text.
      options: what `ClientOptions` lists, such as `max_concurrent_requests=8`.

    Every call takes a `timeout_s` of its own in place of the client's: seconds for each of its requests, from when it is
    sent; the wait for a free place among `max_concurrent_requests` is not counted (`asyncio.timeout` bounds it all).

    Raises:
      ConfigError: if an argument is of another type or out of range, or no event loop runs; in a call, if another loop runs.

    Examples:
      >>> import asyncio
      >>> from softprompt_tf.export import AsyncPredictionClient  # or from softprompt_client
      >>> async def ask() -> str:
      ...     async with AsyncPredictionClient("localhost:8500", model_name="t5") as client:
      ...         answers = await client.classify(["a charming film"], task_id="film")
      ...     return answers[0].label
      >>> asyncio.run(ask())
      'positive'
    """

    def __init__(
        self,
        target: str,
        *,
        model_name: str,
        credentials: grpc.ChannelCredentials | None = None,
        **options: Unpack[OptionArguments],  # type: ignore[misc]  # mypy knows these files by another name here
    ):
        self._loop = _running_loop()
        check_server(target, model_name, credentials)
        self.target, self.model_name = target, model_name
        self.options = ClientOptions(**options)
        self._jitter, self._budget = random.Random(self.options.seed), RetryBudget(self.options.retry_budget)
        self._spec = calls.model_spec(model_name, self.options)
        self._places = asyncio.Semaphore(self.options.max_concurrent_requests)
        self._channel = _open_channel(target, credentials, self.options)
        self._closed = False
        self._predict = self._method(*calls.PREDICT)
        self._get_status = self._method(*calls.GET_STATUS)
        self._get_metadata = self._method(*GET_METADATA)
        self._width = PromptWidth()

    async def generate(
        self, texts: Sequence[str], *, task_id: str | Sequence[str], timeout_s: float | None = None
    ) -> list[Generation]:
        """Return the generated text of each row; arguments and errors as in `PredictionClient.generate`."""
        return await self._ask(calls.generate_call(texts, task_id), timeout_s)

    async def classify(
        self, texts: Sequence[str], *, task_id: str | Sequence[str], timeout_s: float | None = None
    ) -> list[Classification]:
        """Return the most likely label of each row."""
        return await self._ask(calls.classify_call(texts, task_id), timeout_s)

    async def classify_all(
        self, texts: Sequence[str], tasks: Sequence[str], *, timeout_s: float | None = None
    ) -> list[dict[str, Classification]]:
        """Return the most likely label of each text by each of several tasks, as `PredictionClient.classify_all` does."""
        tasks = calls.listed(tasks)
        return calls.by_text(await self._ask(calls.classify_all_call(texts, tasks), timeout_s), tasks)

    async def generate_all(
        self, texts: Sequence[str], tasks: Sequence[str], *, timeout_s: float | None = None
    ) -> list[dict[str, Generation]]:
        """Return what each of several tasks writes of each text, as `PredictionClient.generate_all` does."""
        tasks = calls.listed(tasks)
        return calls.by_text(await self._ask(calls.generate_all_call(texts, tasks), timeout_s), tasks)

    async def score(
        self,
        texts: Sequence[str],
        targets: Sequence[str],
        *,
        task_id: str | Sequence[str],
        timeout_s: float | None = None,
    ) -> list[float]:
        """Return log P(target | text) of each row, in nats."""
        return await self._ask(calls.score_call(texts, targets, task_id), timeout_s)

    async def generate_with_prompt(
        self, prompt: "np.ndarray", texts: Sequence[str], *, timeout_s: float | None = None
    ) -> list[Generation]:
        """Return the generated text of each row, with a prompt [P, H] or [B, P, H] that the server does not know."""
        call = calls.generate_with_prompt_call(prompt, texts)
        if self._width.must_be_asked(call.prompt):
            with self._width.asking():
                asked = self._asked(timeout_s)
                self._width.note(await self._call(self._get_metadata, metadata_request(self._spec), asked))
            self._width.check(call.prompt)
        with self._width.sending():
            return await self._ask(call, timeout_s)

    async def tasks(self, prefix: str = "", *, timeout_s: float | None = None) -> list[TaskInfo]:
        """Return what the server says of the tasks whose ids begin with `prefix`, as `PredictionClient.tasks` does."""
        return (await self._ask(calls.tasks_call(prefix), timeout_s))[0]

    async def status(self, *, timeout_s: float | None = None) -> list[tuple[int, str]]:
        """Return (version, state) of every version that the server knows, such as (2, "AVAILABLE")."""
        request = calls.status_request(self._spec)
        return calls.read_states(await self._call(self._get_status, request, self._asked(timeout_s)))

    async def close(self) -> None:
        """Close the connection; calls that are under way fail with CANCELLED."""
        self._closed = True
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def _method(self, path: str, request: Any, response: Any) -> Callable[..., Any]:
        return self._channel.unary_unary(path, request.SerializeToString, response.FromString)

    def _asked(self, timeout_s: float | None) -> Asked:
        if asyncio.get_running_loop() is not self._loop:
            raise ConfigError(
                "An AsyncPredictionClient may be used in the event loop alone in which it was made. Received: a call from"
                " another one. Make a client in each, or share a PredictionClient."
            )
        if timeout_s is not None:
            check_above("timeout_s", timeout_s, 0)
        return Asked(self.target, self.model_name, self.options.timeout_s if timeout_s is None else timeout_s)

    async def _ask(self, call: calls.PredictionCall[Answer], timeout_s: float | None) -> list[Answer]:
        asked = self._asked(timeout_s)

        async def ask(rows: slice) -> calls.ChunkAnswers[Answer]:
            async with self._places:  # the request is built in here: at most so many are in memory
                response = await self._call(self._predict, call.request(self._spec, rows), asked)
            return call.read_response(response, rows, asked)

        try:
            async with asyncio.TaskGroup() as group:
                chunks = [group.create_task(ask(rows)) for rows in call.chunks(self.options.max_batch_size)]
        except BaseExceptionGroup as failures:
            # The first failure cancels the other requests of the call; callers want it, not a group of it.
            raise failures.exceptions[0]  # noqa: B904  its cause is the RPC's error
        return calls.join_answers([chunk.result() for chunk in chunks], asked)

    async def _call(self, method: Callable[..., Any], request: Any, asked: Asked) -> Any:
        """Send the request until it is answered, refused, or out of retries or time."""
        attempts = Attempts(self.options, self._budget, jitter=self._jitter, timeout_s=asked.timeout_s)
        while True:
            if self._closed:
                raise client_closed(asked)
            try:
                response = await method(request, timeout=attempts.next_timeout_s())
            except grpc.aio.UsageError as error:  # of a channel that was closed in between
                if not self._closed:
                    raise
                raise client_closed(asked) from error
            except grpc.aio.AioRpcError as error:
                wait_s = attempts.wait_after(error.code().name)
                if wait_s is None:
                    raise request_failed(error, asked, attempts) from error
            except asyncio.CancelledError as error:
                if self._closed and not _is_task_cancelled():
                    raise client_closed(asked) from error  # by `close`, which cancels the RPCs and not their tasks
                raise
            else:
                attempts.note_answer()
                return response
            await asyncio.sleep(wait_s)


def _open_channel(target: str, credentials: grpc.ChannelCredentials | None, options: ClientOptions) -> grpc.aio.Channel:
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=channel_options(options))
    return grpc.aio.secure_channel(target, credentials, options=channel_options(options))


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError as error:
        raise ConfigError(
            "An AsyncPredictionClient must be made while its event loop runs. Received: no running event loop."
            " Hint: make it inside a coroutine, with `async with`."
        ) from error


def _is_task_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
