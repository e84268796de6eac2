"""The prediction client: texts and task ids enter, answers of a model server leave, or an exception that says why not.

It speaks gRPC to TF Serving or to this library's own server, and needs neither TensorFlow nor Keras. A large input is
split into requests; a server that is away for a moment is asked again; a bad row is never handed back as an answer.
"""

import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar

import grpc
import numpy as np

from softprompt_tf.errors import ConfigError, DataError, RowError, ServingError
from softprompt_tf.export import wire
from softprompt_tf.export.answers import (
    Classification,
    Generation,
    Outputs,
    describe_bad_rows,
    read_classifications,
    read_generations,
    read_log_likelihoods,
    read_statuses,
)

MAX_MESSAGE_BYTES = 64 * 2**20
_HINTS = {
    "UNAVAILABLE": " Hint: is a model server listening there?",
    "DEADLINE_EXCEEDED": " Hint: raise `timeout_s`, or send fewer rows.",
    "NOT_FOUND": " Hint: check the model's name; `status()` lists the versions that the server has.",
    "RESOURCE_EXHAUSTED": " Hint: lower `max_batch_size`.",
}

Answer = TypeVar("Answer")


class PredictionClient:
    """Ask one model on one server; a single client may be shared by many threads.

    Args:
      target: "host:port" of the server's gRPC port.
      model_name: the name under which the server serves the model.
      timeout_s: seconds that one request may take, with all its retries and waits. Default 30.
      max_batch_size: rows of one request; a longer input becomes several requests, one after the other. Default 64.
      max_retries: how often a request is sent again after UNAVAILABLE; no other status is retried. Default 3.
      initial_backoff_s: wait before the first retry; doubles each time, times a random factor in [0.5, 1.5].
      version: ask this version; default the newest.
      version_label: ask the version with this label, such as "stable". Not together with `version`.
      credentials: `grpc.ssl_channel_credentials(...)` for a TLS server. Default none: plain text.
      seed: seed of the random factor of the waits.

    Raises:
      ConfigError: if a setting is out of range.

    Example:
      with PredictionClient("localhost:8500", model_name="t5") as client:
          client.generate(["a charming film"], task_id="sst2")[0].text
    """

    def __init__(
        self,
        target: str,
        *,
        model_name: str,
        timeout_s: float = 30.0,
        max_batch_size: int = 64,
        max_retries: int = 3,
        initial_backoff_s: float = 0.1,
        version: int | None = None,
        version_label: str | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        seed: int | None = None,
    ):
        _check_above("timeout_s", timeout_s, 0)
        _check_above("max_batch_size", max_batch_size, 0)
        _check_above("max_retries", max_retries, -1)
        _check_above("initial_backoff_s", initial_backoff_s, 0)
        if version is not None and version_label is not None:
            raise ConfigError(f"Give `version` or `version_label`, not both. Received: {version}, {version_label!r}.")
        self.target, self.model_name, self.timeout_s = target, model_name, timeout_s
        self._max_batch_size, self._max_retries, self._initial_backoff_s = (
            max_batch_size,
            max_retries,
            initial_backoff_s,
        )
        self._random = random.Random(seed)
        self._spec = wire.ModelSpec(name=model_name)
        if version is not None:
            self._spec.version.value = version
        if version_label is not None:
            self._spec.version_label = version_label
        self._channel = _open_channel(target, credentials, initial_backoff_s)
        self._closed = False
        self._predict = self._method("PredictionService/Predict", wire.PredictRequest, wire.PredictResponse)
        self._get_status = self._method(
            "ModelService/GetModelStatus", wire.GetModelStatusRequest, wire.GetModelStatusResponse
        )

    def generate(self, texts: Sequence[str], *, task_id: str | Sequence[str]) -> list[Generation]:
        """Return the generated text of each row.

        Args:
          texts: B input texts; [] returns [] and asks nobody.
          task_id: one id for all rows, or B ids.

        Raises:
          DataError: if an argument does not fit.
          RowError: if the server could not answer some rows; `answers` holds the others.
          ServingError: if the request failed.
        """
        return self._ask("serving_default", _text_columns(texts, task_id), read_generations)

    def classify(self, texts: Sequence[str], *, task_id: str | Sequence[str]) -> list[Classification]:
        """Return the most likely label of each row; arguments and errors as in `generate`."""
        return self._ask("classify", _text_columns(texts, task_id), read_classifications)

    def score(self, texts: Sequence[str], targets: Sequence[str], *, task_id: str | Sequence[str]) -> list[float]:
        """Return log P(target | text) of each row, in nats; arguments and errors as in `generate`."""
        columns = _text_columns(texts, task_id)
        columns["target"] = wire.encode_column("targets", targets, rows=len(columns["text"]))
        return self._ask("score", columns, read_log_likelihoods)

    def generate_with_prompt(self, prompt: np.ndarray, texts: Sequence[str]) -> list[Generation]:
        """Return the generated text of each row, with a prompt that the server does not know.

        Args:
          prompt: [P, H] for all rows or [B, P, H], float32.
          texts: B input texts.
        """
        columns = {"text": wire.encode_column("texts", texts)}
        prompt_rows = _prompt_rows(prompt, rows=len(columns["text"]))
        return self._ask("generate_with_prompt", columns, read_generations, prompt=prompt_rows)

    def status(self) -> list[tuple[int, str]]:
        """Return (version, state) of every version that the server knows, such as (2, "AVAILABLE")."""
        response = self._call(self._get_status, wire.GetModelStatusRequest(model_spec=self._spec))
        versions = response.model_version_status
        return [(item.version, wire.VERSION_STATES.get(item.state, str(item.state))) for item in versions]

    def close(self) -> None:
        """Close the connection; calls that are under way fail with CANCELLED."""
        self._closed = True
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _method(self, name: str, request: Any, response: Any) -> Callable[..., Any]:
        path = f"/tensorflow.serving.{name}"
        return self._channel.unary_unary(path, request.SerializeToString, response.FromString)

    def _ask(
        self,
        signature_name: str,
        columns: dict[str, list[bytes]],
        read: Callable[[Outputs], list[Answer]],
        *,
        prompt: np.ndarray | None = None,
    ) -> list[Answer]:
        statuses: list[str] = []
        answers: list[Answer | None] = []
        step = _rows_per_request(self._max_batch_size, prompt)
        for start in range(0, len(columns["text"]), step):
            rows = slice(start, start + step)
            request = wire.PredictRequest(model_spec=self._spec)
            request.model_spec.signature_name = signature_name
            for name, column in columns.items():
                wire.set_strings(request.inputs[name], column[rows])
            if prompt is not None:
                wire.set_array(request.inputs["prompt"], prompt[rows])
            row_status, row_answers = self._read(self._call(self._predict, request), read, len(columns["text"][rows]))
            statuses += row_status
            answers += [None if status else answer for status, answer in zip(row_status, row_answers, strict=True)]
        if any(statuses):
            raise RowError(describe_bad_rows(statuses), row_status=statuses, answers=answers, **self._context())
        return answers  # type: ignore[return-value]  # None stands only for bad rows, and there are none

    def _read(
        self, response: Any, read: Callable[[Outputs], list[Answer]], rows: int
    ) -> tuple[list[str], list[Answer]]:
        try:
            outputs = {name: wire.read_array(tensor) for name, tensor in response.outputs.items()}
            shapes = {name: output.shape for name, output in outputs.items() if output.shape[:1] != (rows,)}
            if shapes:
                raise DataError(f"Every output must have {rows} rows. Received: {shapes}.")
            return read_statuses(outputs), read(outputs)
        except DataError as error:
            message = f"Model `{self.model_name}` on {self.target} gave an answer that this client cannot read: {error}"
            hint = " Hint: is it a model that this library exported?"
            raise ServingError(message + hint, status="INTERNAL", **self._context()) from error

    def _call(self, method: Callable[..., Any], request: Any) -> Any:
        """Send the request, again after UNAVAILABLE, until it is answered, refused, or out of retries or time."""
        if self._closed:
            raise ServingError("This client is closed.", status="CANCELLED", **self._context())
        deadline = time.monotonic() + self.timeout_s
        attempts = 0
        while True:
            try:
                return method(request, timeout=max(deadline - time.monotonic(), 0.001))
            except grpc.RpcError as error:
                attempts += 1
                wait_s = self._initial_backoff_s * 2 ** (attempts - 1) * self._random.uniform(0.5, 1.5)
                is_last = attempts > self._max_retries or time.monotonic() + wait_s >= deadline
                if is_last or error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise self._serving_error(error, attempts=attempts) from error
            time.sleep(wait_s)

    def _serving_error(self, error: grpc.RpcError, *, attempts: int) -> ServingError:
        status = error.code().name
        tries = f" after {attempts} attempts" if attempts > 1 else ""
        message = (
            f"Model `{self.model_name}` on {self.target} did not answer: {status}{tries} (timeout_s={self.timeout_s:g})."
            f" Received: {(error.details() or 'no details').rstrip('.')}.{_HINTS.get(status, '')}"
        )
        return ServingError(message, status=status, **self._context())

    def _context(self) -> dict[str, Any]:
        return {"target": self.target, "model_name": self.model_name, "timeout_s": self.timeout_s}


def _open_channel(target: str, credentials: grpc.ChannelCredentials | None, initial_backoff_s: float) -> grpc.Channel:
    # A lost connection is rebuilt after a wait of gRPC's own, a second at first: a retry before that would always fail.
    reconnect_ms = max(100, int(initial_backoff_s * 1000))
    options = [
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.initial_reconnect_backoff_ms", reconnect_ms),
        ("grpc.max_reconnect_backoff_ms", 10 * reconnect_ms),
    ]
    if credentials is None:
        return grpc.insecure_channel(target, options=options)
    return grpc.secure_channel(target, credentials, options=options)


def _check_above(name: str, value: float, bound: float) -> None:
    if not value > bound:
        raise ConfigError(f"`{name}` must be greater than {bound}. Received: {name}={value!r}.")


def _rows_per_request(max_batch_size: int, prompt: np.ndarray | None) -> int:
    """Return how many rows go into one request, so that prompts [B, P, H] fill at most half of a message."""
    if prompt is None or not prompt.size:
        return max_batch_size
    return max(1, min(max_batch_size, MAX_MESSAGE_BYTES // 2 // prompt[0].nbytes))


def _prompt_rows(prompt: np.ndarray, *, rows: int) -> np.ndarray:
    """Return the prompt as float32 [B, P, H]; one [P, H] is repeated without a copy."""
    prompt = np.asarray(prompt)
    fits = prompt.ndim == 2 or (prompt.ndim == 3 and len(prompt) == rows)
    if not fits or prompt.dtype.kind != "f":
        raise DataError(f"`prompt` must be floats [P, H] or [{rows}, P, H]. Received: {prompt.dtype}, {prompt.shape}.")
    return np.broadcast_to(prompt.astype(np.float32, copy=False), (rows, *prompt.shape[-2:]))


def _text_columns(texts: Sequence[str], task_id: str | Sequence[str]) -> dict[str, list[bytes]]:
    text = wire.encode_column("texts", texts)
    ids = [task_id] * len(text) if isinstance(task_id, str) else task_id
    return {"task_id": wire.encode_column("task_id", ids, rows=len(text)), "text": text}
