"""Plan a job of bulk answers: read its input once, cut it into chunks, and note what a resumed job must have again."""

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softprompt_tf.errors import DataError
from softprompt_tf.export.bulk.chunks import Chunk, InputFile, cut
from softprompt_tf.export.bulk.export_version import ExportVersion
from softprompt_tf.export.bulk.file_formats import FileFormat
from softprompt_tf.export.bulk.output_rows import RowWriter
from softprompt_tf.export.bulk.questions import check_names
from softprompt_tf.export.bulk.records import Record
from softprompt_tf.export.bulk.row_fields import fields_of
from softprompt_tf.export.bulk.settings import AnswerSettings, AskedTask, answer_fields
from softprompt_tf.progress import Progress


@dataclass(frozen=True)
class Job:
    """An answer job, read and checked, of which nothing has run yet."""

    version: ExportVersion
    tasks: Mapping[str, AskedTask]
    chunks: Sequence[Chunk]
    writer: RowWriter
    output: Path
    form: FileFormat
    plan: Mapping[str, Any]

    @property
    def num_rows(self) -> int:
        return sum(chunk.num_rows for chunk in self.chunks)

    @property
    def bad_output(self) -> Path:
        return bad_path(self.output)


def plan_job(
    version: ExportVersion,
    tasks: Mapping[str, AskedTask],
    files: Sequence[InputFile],
    output: Path,
    form: FileFormat,
    *,
    settings: AnswerSettings,
    chunk_rows: int,
) -> Job:
    digest, chunks, columns = hashlib.sha256(), [], dict.fromkeys(name for file in files for name in file.columns)
    for file in files:
        digest.update(f"{Path(file.name).name}\0{file.columns}\n".encode("utf-8", "surrogateescape"))
        check_names(file.columns, settings)
    with Progress(None, unit="row", what="Reading") as progress:
        for chunk, records in cut(files, chunk_rows=chunk_rows):
            digest.update(f"{chunk.num_rows} {chunk.digest}\n".encode())
            chunks.append(chunk)
            if form.kind == "csv" and chunk.file.kind != "csv":
                columns |= _names(records, chunk.file)
            progress.advance(chunk.num_rows)
    if not chunks:
        raise DataError(f"{files[0].name}: holds no rows.")
    answers = answer_fields(settings, tasks)
    names = (*(name for name in columns if name not in answers), *answers) if form.kind == "csv" else ()
    plan = {
        "export": {"version": version.directory.name, "digest": version.digest},
        "input": {"rows": sum(chunk.num_rows for chunk in chunks), "digest": digest.hexdigest()},
        "settings": {**dataclasses.asdict(settings), "chunk_rows": chunk_rows},
        "output": form._asdict(),
    }
    return Job(version, tasks, chunks, RowWriter(form.kind, names, settings), output, form, plan)


def _names(records: Iterable[Record], file: InputFile) -> dict[str, None]:
    """Return the names of the fields of all good rows, in the order of their first use."""
    names: dict[str, None] = {}
    for record in records:
        with contextlib.suppress(DataError):
            names |= dict.fromkeys(fields_of(record, file.kind, file.columns))
    return names


def bad_path(output: Path) -> Path:
    """Return where the bad rows of an output go."""
    return Path(f"{output}.bad.jsonl")
