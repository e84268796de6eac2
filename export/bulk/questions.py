"""Turn the records of a chunk into questions for the model, and tell the bad rows from the good ones."""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from softprompt_tf.errors import DataError
from softprompt_tf.export.bulk.chunks import Chunk
from softprompt_tf.export.bulk.records import Record
from softprompt_tf.export.bulk.row_fields import Fields, fields_of
from softprompt_tf.export.bulk.settings import ANSWER_FIELDS, AnswerSettings, AskedTask
from softprompt_tf.settings.spelling import nearest
from softprompt_tf.tasks.rows import Row
from softprompt_tf.tasks.template import Template, field_text


@dataclass(frozen=True)
class Question:
    """A good row.

    Args:
      row: its number, from 1.
      record: as it stands in the file.
      kind: the format of its file.
      fields: what it holds.
      task, signature, text: what the model is asked.
      target: what is scored; "" with other signatures.
    """

    row: int
    record: Record
    kind: str
    fields: Fields
    task: str
    signature: str
    text: str
    target: str = ""


@dataclass(frozen=True)
class BadRow:
    """A row that has no answer: its number, where it stands, and why."""

    row: int
    record: Record
    file: str
    reason: str

    def as_json(self) -> dict[str, Any]:
        """Return the line of the side output; the record is complete, so that it can be mended."""
        try:
            record: Any = self.record.content.decode()
        except UnicodeDecodeError:
            record = {"b64": base64.b64encode(self.record.content).decode()}
        return {
            "row": self.row,
            "file": self.file,
            "line": self.record.line,
            "reason": self.reason,
            "record": record,
        }


@dataclass(frozen=True)
class AskedChunk:
    """A chunk's rows: those that the model is asked, and those that are bad."""

    chunk: Chunk
    questions: tuple[Question, ...]
    bad: tuple[BadRow, ...]


def read_chunk(chunk: Chunk, settings: AnswerSettings, tasks: Mapping[str, AskedTask]) -> AskedChunk:
    """Read a chunk from its file.

    Raises:
      DataError: if the file has changed.
    """
    questions, bad = [], []
    for row, record in enumerate(chunk.records(), start=chunk.first_row):
        try:
            questions.append(_question(row, record, chunk, settings, tasks))
        except DataError as error:
            bad.append(BadRow(row, record, chunk.file.name, str(error)))
    return AskedChunk(chunk, tuple(questions), tuple(bad))


def _question(
    number: int, record: Record, chunk: Chunk, settings: AnswerSettings, tasks: Mapping[str, AskedTask]
) -> Question:
    fields = fields_of(record, chunk.file.kind, chunk.file.columns)
    row = Row(fields, f"{chunk.file.name}:{record.line}")
    check_names(fields, settings)
    name = settings.task if settings.task is not None else _text_of(row, settings.task_field)
    if name not in tasks:
        raise DataError(f"The export must have the task. Received: {name!r}.{nearest(name, tasks)}")
    task = tasks[name]
    text = _text_of(row, settings.text_field) if task.template is None else _rendered(row, task.template)
    target = _text_of(row, settings.target_field) if task.signature == "score" else ""
    return Question(number, record, chunk.file.kind, fields, name, task.signature, text, target)


def _rendered(row: Row, template: Template) -> str:
    for field in template.input_fields:
        _text_of(row, field)
    return template.render_inputs(row)


def _text_of(row: Row, field: str) -> str:
    if isinstance(row.values.get(field), bytes):
        raise DataError(f"{row.location}: field `{field}` must be valid UTF-8.")
    return field_text(row, field)


def check_names(fields: Iterable[str], settings: AnswerSettings) -> None:
    """Refuse fields that have the name of one of the answer's.

    Raises:
      DataError: with the first one.
    """
    names = {"row", "task", "log_probabilities", *(name for names in ANSWER_FIELDS.values() for name in names)}
    there = [name for name in fields if name.startswith(settings.prefix) and name[len(settings.prefix) :] in names]
    if there:
        raise DataError(
            f"No field of a row may have the name of the answer's. Received: `{there[0]}`. Choose another `--prefix`."
        )
