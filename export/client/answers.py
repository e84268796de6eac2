"""Read a model server's outputs as typed answers, one per row.

Every function raises `DataError` where an output is missing or
is not of the type that this library's signatures have.
"""

from collections.abc import Sequence

from softprompt_tf.errors import DataError
from softprompt_tf.export.client.wire import TensorValues
from softprompt_tf.inference.answers import NO_SCORE, Classification, Generation

Outputs = dict[str, TensorValues]
_SHOWN_BAD_ROWS = 5


def read_generations(outputs: Outputs) -> list[Generation]:
    """Return one generation per row from `output` [B] and `score` [B]."""
    texts, scores = decoded(strings_of(outputs, "output").values), _numbers(outputs, "score").values
    return [Generation(text, score) for text, score in zip(texts, scores, strict=True)]


def read_classifications(outputs: Outputs) -> list[Classification]:
    """Return one classification per row from `label` [B], `probability` [B], `labels` and `log_probabilities` [B, C]."""
    best = decoded(strings_of(outputs, "label").values)
    probabilities = _numbers(outputs, "probability").values
    labels, log_probabilities = strings_of(outputs, "labels", rank=2), _numbers(outputs, "log_probabilities", rank=2)
    if labels.shape != log_probabilities.shape:
        raise DataError(
            f"`labels` and `log_probabilities` must match. Received: {labels.shape}, {log_probabilities.shape}."
        )
    rows = zip(best, probabilities, labels.rows(), log_probabilities.rows(), strict=True)
    return [Classification(label, probability, *_real(names, logs)) for label, probability, names, logs in rows]


def _real(labels: Sequence[bytes], log_probabilities: Sequence[float]) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Leave out what fills up tasks with fewer labels: `NO_SCORE`, and in older exports -inf."""
    kept = [(label, log) for label, log in zip(labels, log_probabilities, strict=True) if log > NO_SCORE]
    return tuple(decoded([label for label, _ in kept])), tuple(log for _, log in kept)


def read_log_likelihoods(outputs: Outputs) -> list[float]:
    """Return `log_likelihood` [B], in nats."""
    return _numbers(outputs, "log_likelihood").values


def read_statuses(outputs: Outputs) -> list[str]:
    """Return `status` [B]: "" for a good row, else what is wrong with it."""
    return decoded(strings_of(outputs, "status").values)


def describe_bad_rows(statuses: Sequence[str]) -> str:
    """Return one sentence that names the bad rows, the first few with their status."""
    bad = [f"row {index}: {status}" for index, status in enumerate(statuses) if status]
    more = f"; and {len(bad) - _SHOWN_BAD_ROWS} more" if len(bad) > _SHOWN_BAD_ROWS else ""
    return (
        f"{len(bad)} of {len(statuses)} rows could not be answered. Received: {'; '.join(bad[:_SHOWN_BAD_ROWS])}{more}"
    )


def strings_of(outputs: Outputs, name: str, *, rank: int = 1) -> TensorValues:
    """Return an output of strings of this rank."""
    return _output(outputs, name, dtypes=("string",), rank=rank)


def counts_of(outputs: Outputs, name: str, *, rank: int = 1) -> TensorValues:
    """Return an output of whole numbers of this rank."""
    return _output(outputs, name, dtypes=("int32", "int64"), rank=rank)


def decoded(values: Sequence[bytes]) -> list[str]:
    """Return texts of UTF-8; what is none gets replacement characters."""
    return [value.decode(errors="replace") for value in values]


def _numbers(outputs: Outputs, name: str, *, rank: int = 1) -> TensorValues:
    return _output(outputs, name, dtypes=("float32", "float64"), rank=rank)


def _output(outputs: Outputs, name: str, *, dtypes: Sequence[str], rank: int) -> TensorValues:
    if name not in outputs:
        raise DataError(f"The answer must have an output `{name}`. Received: {', '.join(sorted(outputs)) or 'none'}.")
    output = outputs[name]
    if output.dtype not in dtypes or len(output.shape) != rank:
        expected = {"string": "strings", "int32": "whole numbers"}.get(dtypes[0], "floats")
        raise DataError(f"Output `{name}` must be {expected} of rank {rank}. Received: {output.dtype}, {output.shape}.")
    return output
