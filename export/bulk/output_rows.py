"""Write answered rows in the output's format: the row's own fields, then those of the answer."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from softprompt_tf.export.bulk.questions import Question
from softprompt_tf.export.bulk.records import framed
from softprompt_tf.export.bulk.row_fields import as_json, parsed_example
from softprompt_tf.export.bulk.settings import AnswerSettings
from softprompt_tf.files.json_lines import json_line

_INT64 = range(-(2**63), 2**63)
_LARGEST_FLOAT32 = 3.4028234e38


@dataclass(frozen=True)
class RowWriter:
    """Turns rows into bytes that can be put one behind the other.

    Args:
      kind: the output's format.
      columns: of a CSV output, all its columns.
      settings: that name the answer's fields.
    """

    kind: str
    columns: tuple[str, ...]
    settings: AnswerSettings

    def header(self) -> bytes:
        """Return what stands before all rows."""
        return csv_line(self.columns) if self.kind == "csv" else b""

    def row(self, question: Question, answer: Mapping[str, Any]) -> bytes:
        """Return one row with its answer."""
        return _WRITERS[self.kind](self, question, self._answer(question, answer))

    def _answer(self, question: Question, answer: Mapping[str, Any]) -> dict[str, Any]:
        named = {"row": question.row, "task": question.task, **answer}
        if not self.settings.log_probabilities:
            named.pop("log_probabilities", None)
        return {self.settings.prefix + name: value for name, value in named.items()}

    def _json(self, question: Question, answer: Mapping[str, Any]) -> bytes:
        text = json_line(as_json({**question.fields, **answer}), allow_nan=False)
        return text.encode() + b"\n"

    def _csv(self, question: Question, answer: Mapping[str, Any]) -> bytes:
        values = {**question.fields, **answer}
        return csv_line([_cell(values.get(name)) for name in self.columns])

    def _example(self, question: Question, answer: Mapping[str, Any]) -> bytes:
        is_example = question.kind == "tfrecord"  # which is kept as it is, and gets more features
        example = parsed_example(question.record.content if is_example else b"")
        for name, value in (answer if is_example else {**question.fields, **answer}).items():
            _set_feature(example.features.feature[name], value)
        return framed(example.SerializeToString(deterministic=True))


_WRITERS: dict[str, Callable[[RowWriter, Question, Mapping[str, Any]], bytes]] = {
    "jsonl": RowWriter._json,
    "csv": RowWriter._csv,
    "tfrecord": RowWriter._example,
}


def csv_line(values: Sequence[str]) -> bytes:
    """Return one CSV record; values with any end of a line are quoted."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(values)
    return text.getvalue().removesuffix("\r\n").encode() + b"\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(as_json(value), ensure_ascii=False)


def _set_feature(feature: Any, value: Any) -> None:
    """Set a feature of a `tf.train.Example`; what it has no type for becomes JSON text, and None no value."""
    values = value if isinstance(value, list) else [] if value is None else [value]
    kinds = {type(item) for item in values}
    if kinds <= {bool, int} and all(item in _INT64 for item in values):
        feature.int64_list.value.extend(map(int, values))
    elif kinds == {float} and all(abs(item) <= _LARGEST_FLOAT32 for item in values):
        feature.float_list.value.extend(values)
    elif kinds <= {str, bytes}:
        feature.bytes_list.value.extend(item.encode() if isinstance(item, str) else item for item in values)
    else:
        feature.bytes_list.value.append(json.dumps(as_json(value), ensure_ascii=False).encode())
