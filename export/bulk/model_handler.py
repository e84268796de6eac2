"""Beam's `RunInference` with an export: the SavedModel is loaded once in each process, and answers chunks of rows.

An element is a chunk, so that which rows share a run of the model depends on nothing but the chunk: a chunk that is answered
again after a stop has the same answers.
"""

import os
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from apache_beam.ml.inference.base import ModelHandler

from softprompt_tf.export.bulk.questions import AskedChunk, BadRow, Question
from softprompt_tf.export.bulk.worker_signals import WorkerSignals
from softprompt_tf.export.client.answers import (
    Outputs,
    read_classifications,
    read_generations,
    read_log_likelihoods,
    read_statuses,
)
from softprompt_tf.export.client.wire import TensorValues
from softprompt_tf.export.session.session_loader import SavedModelSession

_SIGNATURE_NAMES = {"classify": "classify", "generate": "serving_default", "score": "score"}


@dataclass(frozen=True)
class AnsweredChunk:
    """A chunk with its answers: row number -> answer, in the order of the rows, and its bad rows."""

    asked: AskedChunk
    answers: Mapping[int, Mapping[str, Any]]
    bad: tuple[BadRow, ...]


class ServedModel:
    """A version of an export, loaded by TensorFlow's C API as a model server does it.

    Args:
      directory: of the version.
    """

    def __init__(self, directory: str):
        self.session = SavedModelSession(directory)
        weakref.finalize(self, self.session.close).atexit = False  # at exit nobody needs the memory

    def ask(self, signature: str, questions: Sequence[Question]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield status and answer of each question of one batch."""
        inputs = {
            "task_id": [question.task.encode() for question in questions],
            "text": [question.text.encode() for question in questions],
        }
        if signature == "score":
            inputs["target"] = [question.target.encode() for question in questions]
        arrays = self.session.run(_SIGNATURE_NAMES[signature], inputs)
        outputs = {name: _values(array) for name, array in arrays.items()}
        yield from zip(read_statuses(outputs), _READERS[signature](outputs), strict=True)


class ExportHandler(ModelHandler[AskedChunk, AnsweredChunk | None, ServedModel]):
    """Answers chunks with a version of an export.

    Args:
      directory: of the version.
      batch_size: rows of one run of the model.
      signals: between the workers and the job.
    """

    def __init__(self, directory: str, *, batch_size: int, signals: WorkerSignals):
        super().__init__(min_batch_size=1, max_batch_size=1)
        self._directory, self._batch_size, self._signals = directory, batch_size, signals

    def load_model(self) -> ServedModel:
        """Load the export."""
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        with self._signals.failures_told():
            return ServedModel(self._directory)

    def run_inference(
        self, batch: Sequence[AskedChunk], model: ServedModel, inference_args: dict[str, Any] | None = None
    ) -> Iterable[AnsweredChunk | None]:
        """Yield the answers of each chunk; None once the job shall stop."""
        with self._signals.failures_told():
            for asked in batch:
                yield self._answered(asked, model)

    def get_num_bytes(self, batch: Sequence[AskedChunk]) -> int:
        """Return the bytes of a batch, for Beam's metrics."""
        return sum(asked.chunk.size for asked in batch)

    def _answered(self, asked: AskedChunk, model: ServedModel) -> AnsweredChunk | None:
        found: dict[int, Mapping[str, Any]] = {}
        bad = list(asked.bad)
        for signature, questions in _batches(asked.questions, self._batch_size):
            if self._signals.is_stopped():
                return None
            for question, (status, answer) in zip(questions, model.ask(signature, questions), strict=True):
                if status:
                    bad.append(BadRow(question.row, question.record, asked.chunk.file.name, status))
                else:
                    found[question.row] = answer
        return AnsweredChunk(asked, found, tuple(sorted(bad, key=lambda each: each.row)))


def _batches(questions: Sequence[Question], batch_size: int) -> Iterator[tuple[str, list[Question]]]:
    """Yield batches of one signature each, of texts of about the same length, so that little is padded."""
    for signature in _SIGNATURE_NAMES:
        same = [question for question in questions if question.signature == signature]
        same.sort(key=lambda question: (len(question.text), question.row))
        for start in range(0, len(same), batch_size):
            yield signature, same[start : start + batch_size]


def _classifications(outputs: Outputs) -> list[dict[str, Any]]:
    return [
        {
            "label": answer.label,
            "probability": answer.probability,
            "log_probabilities": dict(zip(answer.labels, answer.log_probabilities, strict=True)),
        }
        for answer in read_classifications(outputs)
    ]


def _generations(outputs: Outputs) -> list[dict[str, Any]]:
    return [{"text": answer.text, "score": answer.score} for answer in read_generations(outputs)]


def _log_likelihoods(outputs: Outputs) -> list[dict[str, Any]]:
    return [{"log_likelihood": value} for value in read_log_likelihoods(outputs)]


_READERS = {"classify": _classifications, "generate": _generations, "score": _log_likelihoods}


def _values(array: "np.ndarray[Any, Any]") -> TensorValues:
    dtype = "string" if array.dtype == object else array.dtype.name
    return TensorValues(dtype, array.shape, array.ravel().tolist())
