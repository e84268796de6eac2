"""The prediction client: ask a model server over gRPC for labels, texts and scores.

It speaks gRPC to TF Serving or to this library's own server, and needs neither TensorFlow nor Keras nor NumPy. A large input is
split into requests; a server that is away for a moment is asked again; a bad row is never handed back as an answer.
`async_client` is the same for asyncio.
"""

import random
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

import grpc

from softprompt_tf.export.client import prediction_calls as calls
from softprompt_tf.export.client.answers import Classification as Classification
from softprompt_tf.export.client.answers import Generation as Generation
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
from softprompt_tf.export.client.task_info import TaskInfo as TaskInfo

if TYPE_CHECKING:
    import numpy as np

Answer = TypeVar("Answer")


class PredictionClient:
    """Ask one model on one server; a single client may be shared by many threads.

    Args:
      target: "host:port" of the server's gRPC port; if the name has several addresses, they take turns.
      model_name: the name under which the server serves the model.
      credentials: `tls_credentials(...)` for a TLS server. Default none: plain text.
      options: what `ClientOptions` lists, such as `timeout_s=5`.

    Every call takes a `timeout_s` of its own in place of the client's: seconds for each of its requests.

    Raises:
      ConfigError: if a setting is out of range.

    Examples:
      >>> from softprompt_tf.export import PredictionClient  # or from softprompt_client
      >>> with PredictionClient("localhost:8500", model_name="t5") as client:
      ...     client.classify(["a charming film"], task_id="film")[0].label
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
        check_server(target, model_name, credentials)
        self.target, self.model_name = target, model_name
        self.options = ClientOptions(**options)
        self._jitter, self._budget = random.Random(self.options.seed), RetryBudget(self.options.retry_budget)
        self._spec = calls.model_spec(model_name, self.options)
        self._channel = _open_channel(target, credentials, self.options)
        self._closed = False
        self._predict = self._method(*calls.PREDICT)
        self._get_status = self._method(*calls.GET_STATUS)
        self._get_metadata = self._method(*GET_METADATA)
        self._width = PromptWidth()

    def generate(
        self, texts: Sequence[str], *, task_id: str | Sequence[str], timeout_s: float | None = None
    ) -> list[Generation]:
        """Return the generated text of each row.

        Args:
          texts: B input texts; [] returns [] and asks nobody.
          task_id: one id for all rows, or B ids.
          timeout_s: seconds for each request, in place of the client's.

        Raises:
          DataError: if an argument does not fit.
          RowError: if the server could not answer some rows; `answers` holds the others.
          ServingError: if the request failed.

        Examples:
          >>> with PredictionClient("localhost:8500", model_name="t5") as client:
          ...     answers = client.generate(["a charming film", "a dull film"], task_id="film")
          >>> len(answers)
          2
        """
        return self._ask(calls.generate_call(texts, task_id), timeout_s)

    def classify(
        self, texts: Sequence[str], *, task_id: str | Sequence[str], timeout_s: float | None = None
    ) -> list[Classification]:
        """Return the most likely label of each row; arguments and errors as in `generate`.

        Examples:
          >>> with PredictionClient("localhost:8500", model_name="t5") as client:
          ...     answer = client.classify(["a charming film"], task_id="film")[0]
          >>> answer.label, answer.labels
          ('positive', ('negative', 'positive'))
        """
        return self._ask(calls.classify_call(texts, task_id), timeout_s)

    def classify_all(
        self, texts: Sequence[str], tasks: Sequence[str], *, timeout_s: float | None = None
    ) -> list[dict[str, Classification]]:
        """Return the most likely label of each text by each of several tasks.

        Rows of one text are neighbours. A server encodes the text once for all tasks that enter after the encoder, and below
        their layer for late prompts.

        Args:
          texts: B input texts.
          tasks: K task ids.
          timeout_s: seconds for each request, in place of the client's.

        Returns:
          For each text, task id -> answer.

        Raises:
          DataError: if an argument does not fit, or a task is named twice.
          RowError: if the server could not answer some rows, of which row r is text r // K by task r % K.
          ServingError: if the request failed.

        Examples:
          >>> with PredictionClient("localhost:8500", model_name="t5") as client:
          ...     answers = client.classify_all(["a charming film"], ["film", "book"])
          >>> answers[0]["book"].label
          'positive'
        """
        tasks = calls.listed(tasks)
        return calls.by_text(self._ask(calls.classify_all_call(texts, tasks), timeout_s), tasks)

    def generate_all(
        self, texts: Sequence[str], tasks: Sequence[str], *, timeout_s: float | None = None
    ) -> list[dict[str, Generation]]:
        """Return what each of several tasks writes of each text; arguments, answers and errors as in `classify_all`."""
        tasks = calls.listed(tasks)
        return calls.by_text(self._ask(calls.generate_all_call(texts, tasks), timeout_s), tasks)

    def score(
        self,
        texts: Sequence[str],
        targets: Sequence[str],
        *,
        task_id: str | Sequence[str],
        timeout_s: float | None = None,
    ) -> list[float]:
        """Return log P(target | text) of each row, in nats; arguments and errors as in `generate`."""
        return self._ask(calls.score_call(texts, targets, task_id), timeout_s)

    def generate_with_prompt(
        self, prompt: "np.ndarray", texts: Sequence[str], *, timeout_s: float | None = None
    ) -> list[Generation]:
        """Return the generated text of each row, with a prompt that the server does not know.

        Args:
          prompt: [P, H] for all rows or [B, P, H], float32. The first call asks the server for H, with a request of its own.
          texts: B input texts.
          timeout_s: seconds for each request, in place of the client's.

        Raises:
          DataError: if an argument does not fit, such as a prompt of another width than the served T5's.
          RowError, ServingError: as in `generate`.
        """
        call = calls.generate_with_prompt_call(prompt, texts)
        if self._width.must_be_asked(call.prompt):
            with self._width.asking():
                asked = self._asked(timeout_s)
                self._width.note(self._call(self._get_metadata, metadata_request(self._spec), asked))
            self._width.check(call.prompt)
        with self._width.sending():
            return self._ask(call, timeout_s)

    def tasks(self, prefix: str = "", *, timeout_s: float | None = None) -> list[TaskInfo]:
        """Return what the server says of its tasks, in the order in which they were exported.

        Args:
          prefix: only the tasks whose ids begin with it; "" for all.
          timeout_s: seconds for the request, in place of the client's.

        Raises:
          DataError: if `prefix` is no str.
          ServingError: if the request failed, as where the export is of version 0.1, which cannot list its tasks.

        Examples:
          >>> with PredictionClient("localhost:8500", model_name="t5") as client:
          ...     [(task.task_id, task.labels) for task in client.tasks()]
          [('film', ('negative', 'positive'))]
        """
        return self._ask(calls.tasks_call(prefix), timeout_s)[0]

    def status(self, *, timeout_s: float | None = None) -> list[tuple[int, str]]:
        """Return (version, state) of every version that the server knows, such as (2, "AVAILABLE")."""
        return calls.read_states(self._call(self._get_status, calls.status_request(self._spec), self._asked(timeout_s)))

    def close(self) -> None:
        """Close the connection; calls that are under way fail with CANCELLED."""
        self._closed = True
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _method(self, path: str, request: Any, response: Any) -> Callable[..., Any]:
        return self._channel.unary_unary(path, request.SerializeToString, response.FromString)

    def _asked(self, timeout_s: float | None) -> Asked:
        if timeout_s is not None:
            check_above("timeout_s", timeout_s, 0)
        return Asked(self.target, self.model_name, self.options.timeout_s if timeout_s is None else timeout_s)

    def _ask(self, call: calls.PredictionCall[Answer], timeout_s: float | None) -> list[Answer]:
        asked = self._asked(timeout_s)
        chunks = [
            call.read_response(self._call(self._predict, call.request(self._spec, rows), asked), rows, asked)
            for rows in call.chunks(self.options.max_batch_size)
        ]
        return calls.join_answers(chunks, asked)

    def _call(self, method: Callable[..., Any], request: Any, asked: Asked) -> Any:
        """Send the request until it is answered, refused, or out of retries or time."""
        attempts = Attempts(self.options, self._budget, jitter=self._jitter, timeout_s=asked.timeout_s)
        while True:
            if self._closed:
                raise client_closed(asked)
            try:
                response = method(request, timeout=attempts.next_timeout_s())
            except ValueError as error:  # gRPC's, of a channel that was closed in between
                if not self._closed:
                    raise
                raise client_closed(asked) from error
            except grpc.RpcError as error:
                wait_s = attempts.wait_after(error.code().name)
                if wait_s is None:
                    raise request_failed(error, asked, attempts) from error
            else:
                attempts.note_answer()
                return response
            time.sleep(wait_s)


def _open_channel(target: str, credentials: grpc.ChannelCredentials | None, options: ClientOptions) -> grpc.Channel:
    if credentials is None:
        return grpc.insecure_channel(target, options=channel_options(options))
    return grpc.secure_channel(target, credentials, options=channel_options(options))
