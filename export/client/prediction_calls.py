"""Build a client's requests and read the answers, as pure functions.

A `PredictionCall` holds the columns of all rows. It cuts itself into requests of a bounded number of rows, and puts
their answers together again in the order of the rows. Nothing is sent here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from softprompt_tf.errors import ConfigError, DataError, RowError
from softprompt_tf.export.client import wire
from softprompt_tf.export.client.answers import (
    Classification,
    Generation,
    Outputs,
    describe_bad_rows,
    read_classifications,
    read_generations,
    read_log_likelihoods,
    read_statuses,
)
from softprompt_tf.export.client.client_errors import Asked, unreadable_answer
from softprompt_tf.export.client.client_options import MAX_MESSAGE_BYTES, ClientOptions
from softprompt_tf.export.client.task_info import TaskInfo, read_tasks
from softprompt_tf.shown_numbers import counted

if TYPE_CHECKING:
    import numpy as np

Answer = TypeVar("Answer")
Request: TypeAlias = Any  # a PredictRequest of `wire`
Response: TypeAlias = Any  # a PredictResponse of `wire`

PREDICT = ("/tensorflow.serving.PredictionService/Predict", wire.PredictRequest, wire.PredictResponse)
GET_STATUS = (
    "/tensorflow.serving.ModelService/GetModelStatus",
    wire.GetModelStatusRequest,
    wire.GetModelStatusResponse,
)


@dataclass(frozen=True)
class ChunkAnswers(Generic[Answer]):
    """The rows of one request: a status each, "" for a good one, and its answer, None for a bad one."""

    statuses: list[str]
    answers: list[Answer | None]


@dataclass(frozen=True)
class PredictionCall(Generic[Answer]):
    """One question about B rows.

    Args:
      signature_name: the signature to run.
      columns: input name -> B strings, as UTF-8.
      read: turns the outputs of a request into one answer per row.
      prompt: [B, P, H] float32, where the signature takes one.

    Raises:
      DataError: if the columns differ in rows, hold something else than bytes, or the prompt does not fit them. A model
        server that merges requests may fail every request of a batch because of a single malformed one, and may hold one
        without rows back; so neither is ever sent.
    """

    signature_name: str
    columns: Mapping[str, list[bytes]]
    read: Callable[[Outputs], list[Answer]]
    prompt: "np.ndarray | None" = None

    def __post_init__(self) -> None:
        rows = {name: len(column) for name, column in self.columns.items()}
        if len(set(rows.values())) != 1 or not all(isinstance(value, bytes) for value in _values(self.columns)):
            raise DataError(f"Every column must hold bytes, one per row. Received: {rows}.")
        if self.prompt is not None:
            _check_prompt_rows(self.prompt, rows=self.num_rows)

    @property
    def num_rows(self) -> int:
        """B."""
        return len(next(iter(self.columns.values())))

    def chunks(self, max_batch_size: int) -> list[slice]:
        """Return the rows of each request, so that its prompts [B, P, H] fill at most half of a message."""
        step = max_batch_size
        if self.prompt is not None and self.prompt.size:
            step = max(1, min(step, MAX_MESSAGE_BYTES // 2 // self.prompt[0].nbytes))
        return [slice(start, min(start + step, self.num_rows)) for start in range(0, self.num_rows, step)]

    def request(self, spec: Any, rows: slice) -> Request:
        """Return the request for these rows, at least one, to the model of `spec`."""
        if rows.stop <= rows.start:
            raise DataError(f"A request must have at least one row. Received: {rows}.")
        request = wire.PredictRequest(model_spec=spec)
        request.model_spec.signature_name = self.signature_name
        for name, column in self.columns.items():
            wire.set_strings(request.inputs[name], column[rows])
        if self.prompt is not None:
            wire.set_array(request.inputs["prompt"], self.prompt[rows])
        return request

    def read_response(self, response: Response, rows: slice, asked: Asked) -> ChunkAnswers[Answer]:
        """Return what a response says about these rows.

        Raises:
          ServingError: if the response does not fit, as that of a model of another kind.
        """
        try:
            outputs = {name: wire.read_tensor(tensor) for name, tensor in response.outputs.items()}
            count = rows.stop - rows.start
            shapes = {name: output.shape for name, output in outputs.items() if output.shape[:1] != (count,)}
            if shapes:
                raise DataError(f"Every output must have {counted(count, 'row')}. Received: {shapes}.")
            statuses, answers = read_statuses(outputs), self.read(outputs)
        except DataError as error:
            raise unreadable_answer(error, asked) from error
        good = [None if status else answer for status, answer in zip(statuses, answers, strict=True)]
        return ChunkAnswers(statuses, good)


def join_answers(chunks: Sequence[ChunkAnswers[Answer]], asked: Asked) -> list[Answer]:
    """Return the answers of all rows, in order.

    Raises:
      RowError: if some rows are bad; it holds the answers of the others.
    """
    statuses = [status for chunk in chunks for status in chunk.statuses]
    answers = [answer for chunk in chunks for answer in chunk.answers]
    if any(statuses):
        raise RowError(describe_bad_rows(statuses), row_status=statuses, answers=answers, **asdict(asked))
    return answers  # type: ignore[return-value]  # None stands only for bad rows, and there are none


def generate_call(texts: Sequence[str], task_id: str | Sequence[str]) -> PredictionCall[Generation]:
    """Ask for generated text; `task_id` is one for all rows or one each."""
    return PredictionCall("serving_default", _text_columns(texts, task_id), read_generations)


def classify_call(texts: Sequence[str], task_id: str | Sequence[str]) -> PredictionCall[Classification]:
    """Ask for the most likely labels."""
    return PredictionCall("classify", _text_columns(texts, task_id), read_classifications)


def generate_all_call(texts: Sequence[str], tasks: Sequence[str]) -> PredictionCall[Generation]:
    """Ask for the generated text of every text by every task."""
    return PredictionCall("serving_default", _all_columns(texts, tasks), read_generations)


def classify_all_call(texts: Sequence[str], tasks: Sequence[str]) -> PredictionCall[Classification]:
    """Ask for the most likely labels of every text by every task."""
    return PredictionCall("classify", _all_columns(texts, tasks), read_classifications)


def listed(values: Sequence[str]) -> Sequence[str]:
    """Return the values of an iterator as a list, as they are asked for twice; all else as it is."""
    return list(values) if isinstance(values, Iterator) else values


def by_text(answers: Sequence[Answer], tasks: Sequence[str]) -> list[dict[str, Answer]]:
    """Return the answers of a call for all tasks as task id -> answer of each text."""
    step = len(tasks)
    return [dict(zip(tasks, answers[start : start + step], strict=True)) for start in range(0, len(answers), step)]


def score_call(texts: Sequence[str], targets: Sequence[str], task_id: str | Sequence[str]) -> PredictionCall[float]:
    """Ask for log P(target | text), in nats."""
    columns = _text_columns(texts, task_id)
    columns["target"] = _column("targets", targets, rows=len(columns["text"]))
    return PredictionCall("score", columns, read_log_likelihoods)


def generate_with_prompt_call(prompt: "np.ndarray", texts: Sequence[str]) -> PredictionCall[Generation]:
    """Ask for generated text with a prompt [P, H] or [B, P, H] that is sent along."""
    columns = {"text": _column("texts", texts)}
    prompt_rows = _prompt_rows(prompt, rows=len(columns["text"]))
    return PredictionCall("generate_with_prompt", columns, read_generations, prompt=prompt_rows)


def tasks_call(prefix: str) -> PredictionCall[list[TaskInfo]]:
    """Ask which tasks have ids that begin with `prefix`; the answer is one row."""
    return PredictionCall("tasks", {"prefix": _column("prefix", [prefix])}, read_tasks)


def status_request(spec: Any) -> Any:
    """Return the request for the states of a model's versions."""
    return wire.GetModelStatusRequest(model_spec=spec)


def read_states(response: Any) -> list[tuple[int, str]]:
    """Return (version, state) of every version in a status response."""
    versions = response.model_version_status
    return [(item.version, wire.VERSION_STATES.get(item.state, str(item.state))) for item in versions]


def model_spec(model_name: str, options: ClientOptions) -> Any:
    """Return the ModelSpec that names the model and, where the options do, its version or label."""
    spec = wire.ModelSpec(name=model_name)
    if options.version is not None:
        spec.version.value = options.version
    if options.version_label is not None:
        spec.version_label = options.version_label
    return spec


def _prompt_rows(prompt: "np.ndarray", *, rows: int) -> "np.ndarray":
    """Return the prompt as float32 [B, P, H]; one [P, H] is repeated without a copy."""
    try:
        import numpy as np  # here, as nothing else of the client needs it
    except ImportError as error:
        raise ConfigError("A prompt is sent as a NumPy array. Received: no NumPy. Run `pip install numpy`.") from error
    try:
        prompt = np.asarray(prompt)
    except ValueError as error:  # lists of different lengths
        raise DataError(f"`prompt` must be floats [P, H] or [{rows}, P, H]. Received: {error}") from error
    fits = prompt.ndim == 2 or (prompt.ndim == 3 and len(prompt) == rows)
    if not fits or not _is_floating(prompt) or not prompt.shape[-1]:  # P may be 0: the text alone
        raise DataError(
            f"`prompt` must be floats [P, H] or [{rows}, P, H], H at least 1. Received: {prompt.dtype}, {prompt.shape}."
        )
    with np.errstate(over="ignore"):  # what becomes infinite is refused by the server, as what was infinite is
        return np.broadcast_to(prompt.astype(np.float32, copy=False), (rows, *prompt.shape[-2:]))


def _is_floating(array: "np.ndarray") -> bool:
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"  # which ml_dtypes registers with another kind


def _check_prompt_rows(prompt: "np.ndarray", *, rows: int) -> None:
    if prompt.dtype != "float32" or prompt.ndim != 3 or len(prompt) != rows:
        raise DataError(f"`prompt` must be float32 [{rows}, P, H]. Received: {prompt.dtype}, {prompt.shape}.")


def _all_columns(texts: Sequence[str], tasks: Sequence[str]) -> dict[str, list[bytes]]:
    """Return a row for every text and task; those of a text stand together, so that it is encoded once."""
    text, ids = _column("texts", texts), _column("tasks", tasks)
    if not ids or len(set(ids)) != len(ids):
        raise DataError(f"`tasks` must be task ids, each once. Received: tasks={list(tasks)!r}.")
    return {"task_id": ids * len(text), "text": [row for row in text for _ in ids]}


def _text_columns(texts: Sequence[str], task_id: str | Sequence[str]) -> dict[str, list[bytes]]:
    text = _column("texts", texts)
    ids = [task_id] * len(text) if isinstance(task_id, str) else task_id
    return {"task_id": _column("task_id", ids, rows=len(text)), "text": text}


def _column(name: str, values: Sequence[str], *, rows: int | None = None) -> list[bytes]:
    """Encode one string per row; what has no order of rows (a set, a mapping) or another rank is refused."""
    rank = getattr(values, "ndim", 1)
    if rank != 1 or isinstance(values, Set | Mapping):
        raise DataError(
            f"`{name}` must be a sequence of str, one per row. Received: {type(values).__name__} of rank {rank}."
        )
    return wire.encode_column(name, values, rows=rows)


def _values(columns: Mapping[str, list[bytes]]) -> Iterator[bytes]:
    return (value for column in columns.values() for value in column)
