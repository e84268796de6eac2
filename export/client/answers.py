"""Read a model server's outputs as typed answers, one per row.

Part of the prediction client, so it needs NumPy alone. Every function raises `DataError` where an output is missing or
is not of the type that this library's signatures have.
"""

from collections.abc import Sequence

import numpy as np

from softprompt_tf.errors import DataError
from softprompt_tf.inference.answers import NO_SCORE, Classification, Generation

Outputs = dict[str, np.ndarray]
_SHOWN_BAD_ROWS = 5


def read_generations(outputs: Outputs) -> list[Generation]:
    """Return one generation per row from `output` [B] and `score` [B]."""
    texts, scores = _decode(_strings(outputs, "output")), _numbers(outputs, "score").tolist()
    return [Generation(text, score) for text, score in zip(texts, scores, strict=True)]


def read_classifications(outputs: Outputs) -> list[Classification]:
    """Return one classification per row from `label` [B], `probability` [B], `labels` and `log_probabilities` [B, C]."""
    best = _decode(_strings(outputs, "label"))
    probabilities = _numbers(outputs, "probability").tolist()
    labels, log_probabilities = _strings(outputs, "labels", rank=2), _numbers(outputs, "log_probabilities", rank=2)
    if labels.shape != log_probabilities.shape:
        raise DataError(
            f"`labels` and `log_probabilities` must match. Received: {labels.shape}, {log_probabilities.shape}."
        )
    is_real = log_probabilities > NO_SCORE  # fills up tasks with fewer labels; older exports have -inf there
    return [
        Classification(
            best[row],
            probabilities[row],
            tuple(_decode(labels[row][is_real[row]])),
            tuple(log_probabilities[row][is_real[row]].tolist()),
        )
        for row in range(len(best))
    ]


def read_log_likelihoods(outputs: Outputs) -> list[float]:
    """Return `log_likelihood` [B], in nats."""
    return _numbers(outputs, "log_likelihood").tolist()


def read_statuses(outputs: Outputs) -> list[str]:
    """Return `status` [B]: "" for a good row, else what is wrong with it."""
    return _decode(_strings(outputs, "status"))


def describe_bad_rows(statuses: Sequence[str]) -> str:
    """Return one sentence that names the bad rows, the first few with their status."""
    bad = [f"row {index}: {status}" for index, status in enumerate(statuses) if status]
    more = f"; and {len(bad) - _SHOWN_BAD_ROWS} more" if len(bad) > _SHOWN_BAD_ROWS else ""
    return (
        f"{len(bad)} of {len(statuses)} rows could not be answered. Received: {'; '.join(bad[:_SHOWN_BAD_ROWS])}{more}"
    )


def _strings(outputs: Outputs, name: str, *, rank: int = 1) -> np.ndarray:
    return _output(outputs, name, kind="O", rank=rank)


def _numbers(outputs: Outputs, name: str, *, rank: int = 1) -> np.ndarray:
    return _output(outputs, name, kind="f", rank=rank)


def _output(outputs: Outputs, name: str, *, kind: str, rank: int) -> np.ndarray:
    if name not in outputs:
        raise DataError(f"The answer must have an output `{name}`. Received: {', '.join(sorted(outputs)) or 'none'}.")
    output = outputs[name]
    if output.dtype.kind != kind or output.ndim != rank:
        expected = "strings" if kind == "O" else "floats"
        raise DataError(f"Output `{name}` must be {expected} of rank {rank}. Received: {output.dtype}, {output.shape}.")
    return output


def _decode(values: np.ndarray) -> list[str]:
    return [value.decode(errors="replace") for value in values.tolist()]
