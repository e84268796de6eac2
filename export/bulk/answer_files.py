"""Answer the rows of files with an export, once each, also where the job is stopped and started again."""

import contextlib
import dataclasses
import hashlib
import importlib.util
import secrets
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from softprompt_tf.errors import ConfigError, DataError, ServingError, SoftPromptError, first_line
from softprompt_tf.export.bulk.chunks import Chunk, InputFile, cut, input_paths, open_inputs
from softprompt_tf.export.bulk.export_version import ExportVersion, find_version
from softprompt_tf.export.bulk.file_formats import FileFormat, format_of
from softprompt_tf.export.bulk.output_rows import RowWriter
from softprompt_tf.export.bulk.questions import check_names
from softprompt_tf.export.bulk.records import Record
from softprompt_tf.export.bulk.row_fields import fields_of
from softprompt_tf.export.bulk.settings import AnswerSettings, AskedTask, answer_fields, asked_tasks
from softprompt_tf.export.bulk.work_directory import WorkDirectory, not_overwritten, put
from softprompt_tf.export.bulk.worker_signals import WorkerSignals
from softprompt_tf.files.directory_lock import locked
from softprompt_tf.files.local_paths import local_target
from softprompt_tf.progress import Progress

DIRECT_RUNNER = "FnApiRunner"
"""Beam's direct runner in Python. Its name `DirectRunner` may fetch another one, Prism, from the network."""

_POLL_S = 0.5


@dataclass(frozen=True)
class FileAnswers:
    """What `answer_files` has written.

    Args:
      output: the file of answered rows.
      num_answered: how many rows it has.
      bad_output: the file of bad rows; None where there are none.
      num_bad: how many rows that one has.
    """

    output: Path
    num_answered: int
    bad_output: Path | None
    num_bad: int


@dataclass(frozen=True)
class _Job:
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
        return _bad_path(self.output)


def answer_files(
    export: str | Path,
    input: str | Path,
    output: str | Path,
    *,
    settings: AnswerSettings | None = None,
    input_format: str | None = None,
    output_format: str | None = None,
    chunk_rows: int = 1000,
    runner: str = DIRECT_RUNNER,
    beam_options: Sequence[str] = (),
    force: bool = False,
) -> FileAnswers:
    """Answer the rows of files in bulk, with Apache Beam.

    Each answered row has the fields of its row, then `answer_row` (its number among all rows, from 1), `answer_task`, and
    `answer_label` and `answer_probability`, or `answer_text` and `answer_score`, or `answer_log_likelihood`. Rows keep their
    order. Bad rows go to OUTPUT.bad.jsonl with their line and the reason.

    A job that was stopped, in whatever way, leaves OUTPUT.work. Called again with the same arguments it goes on, and each row
    is in the output once.

    Args:
      export: the base directory of an export, or one version of it.
      input: a file, or a pattern such as "rows/*.jsonl": JSON lines, CSV, or `tf.train.Example`s in TFRecord files; also with
        `.gz`.
      output: a file of one of these formats.
      settings: which task, signature and fields. Default: each row names its `task`, and has its `text`.
      input_format, output_format: "jsonl", "csv" or "tfrecord". Default: as the names say.
      chunk_rows: rows that are written at a time. A stopped job asks at most this many again for each worker.
      runner: the name of a Beam runner.
      beam_options: Beam's own options, such as "direct_num_workers=2".
      force: replace an output that exists, and forget the answers of another unfinished job.

    Returns:
      Where the answers are, and how many.

    Raises:
      ConfigError: if an option does not fit, Apache Beam is missing, an output exists, or a stopped job was another one.
      DataError: if an input cannot be read or changes, or holds no rows.
      ExportError, VerificationError: if the export cannot be read or loaded.
      ServingError: if the pipeline fails for another reason.
      KeyboardInterrupt: after Ctrl-C; with what is kept as its text.

    Examples:
      >>> from softprompt_tf.export import answer_files
      >>> done = answer_files("exports/t5", "rows.jsonl", "answers.jsonl")  # doctest: +SKIP
      >>> done.num_answered, done.num_bad  # doctest: +SKIP
      (99990, 10)
    """
    settings = settings or AnswerSettings()
    if chunk_rows < 1:
        raise ConfigError(f"`chunk_rows` must be a whole number above 0. Received: {chunk_rows}.")
    _check_beam()
    target = local_target(output, error_type=ConfigError)
    if target.is_dir():
        raise ConfigError(f"The output must be a file. Received: the directory {target}.")
    form = format_of(target, output_format, option="--output-format")
    paths = input_paths(input)
    _check_apart(paths, target)
    options = _pipeline_options(runner, beam_options)
    version = find_version(export)
    tasks = asked_tasks(settings, version.tasks)
    work = WorkDirectory(Path(f"{target}.work"))
    _check_free(target, work, force=force)
    try:
        with locked(work.path, error_type=ConfigError):
            work.check_own()
            _check_free(target, work, force=force)
            with _removed_unless_begun(work):
                files = open_inputs(paths, input_format, unpack_into=work.path)
                job = _plan(version, tasks, files, target, form, settings=settings, chunk_rows=chunk_rows)
                _begin(work, job.plan, force=force)
            _answer(job, work, options, force=force)
            return _finish(job, work, force=force)
    finally:
        with contextlib.suppress(OSError):
            work.path.rmdir()  # where nothing was begun


# === Checks ===


def _check_beam() -> None:
    if importlib.util.find_spec("apache_beam") is None:
        raise ConfigError(
            "Bulk answers need Apache Beam. Received: no package apache_beam. Install it: pip install 'softprompt-tf[beam]'."
        )


def _pipeline_options(runner: str, beam_options: Sequence[str]) -> Any:
    from softprompt_tf.export.bulk.pipeline import pipeline_options

    return pipeline_options(runner, beam_options)


def _bad_path(output: Path) -> Path:
    return Path(f"{output}.bad.jsonl")


def _check_apart(paths: Iterable[Path], output: Path) -> None:
    written = {output.absolute(), _bad_path(output).absolute()}
    for path in paths:
        if path.absolute() in written or (output.exists() and path.samefile(output)):
            raise ConfigError(f"The output must be another file than the input. Received: {path} as both.")


def _check_free(output: Path, work: WorkDirectory, *, force: bool) -> None:
    """Refuse an output that exists, unless a job that was stopped at its very end may have written it itself."""
    for path in (output, _bad_path(output)):
        if path.exists() and not force and not work.has_plan():
            raise ConfigError(not_overwritten(path))


# === The plan ===


def _plan(
    version: ExportVersion,
    tasks: Mapping[str, AskedTask],
    files: Sequence[InputFile],
    output: Path,
    form: FileFormat,
    *,
    settings: AnswerSettings,
    chunk_rows: int,
) -> _Job:
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
    return _Job(version, tasks, chunks, RowWriter(form.kind, names, settings), output, form, plan)


def _names(records: Iterable[Record], file: InputFile) -> dict[str, None]:
    """Return the names of the fields of all good rows, in the order of their first use."""
    names: dict[str, None] = {}
    for record in records:
        with contextlib.suppress(DataError):
            names |= dict.fromkeys(fields_of(record, file.kind, file.columns))
    return names


@contextlib.contextmanager
def _removed_unless_begun(work: WorkDirectory) -> Iterator[None]:
    """Leave no directory behind where a job could not begin."""
    try:
        yield
    except BaseException:
        if not work.has_plan():
            work.clear()
        raise


def _begin(work: WorkDirectory, plan: Mapping[str, Any], *, force: bool) -> None:
    if not work.has_plan():
        work.begin(plan)
        return
    try:
        work.check_plan(plan)
    except ConfigError:
        if not force:
            raise
        work.forget()
        work.begin(plan)


# === The run ===


def _answer(job: _Job, work: WorkDirectory, options: Any, *, force: bool) -> None:
    """Run the pipeline over what is not finished.

    Raises:
      ConfigError: if somebody else has written an output meanwhile.
      KeyboardInterrupt: if it was stopped.
      SoftPromptError: if it failed.
    """
    finished = work.finished()
    left = [chunk for chunk in job.chunks if chunk.number not in finished]
    if not left:
        return
    for path in (job.output, job.bad_output):
        if path.exists() and not force:
            raise ConfigError(not_overwritten(path))
    signals = WorkerSignals(str(work.path.absolute()), secrets.token_hex(4))
    with _progress(job, work), _stopped_by_interrupt(signals):
        try:
            _run(job, left, signals, options)
        except Exception as error:
            raise _reason(error, signals) from error
    left_rows = job.num_rows - _done_rows(job, work)
    if signals.is_stopped() and left_rows:
        done = job.num_rows - left_rows
        raise KeyboardInterrupt(f"{done:,} of {job.num_rows:,} rows are answered. Run the same command again to go on.")
    if left_rows:
        raise ServingError(f"The runner must answer every row. Received: {left_rows:,} rows without an answer.")


def _run(job: _Job, chunks: Sequence[Chunk], signals: WorkerSignals, options: Any) -> None:
    from softprompt_tf.export.bulk.pipeline import run_pipeline

    run_pipeline(
        chunks,
        export=str(job.version.directory),
        tasks=job.tasks,
        writer=job.writer,
        signals=signals,
        options=options,
    )


def _reason(error: Exception, signals: WorkerSignals) -> SoftPromptError:
    told = signals.failure()
    if told is not None:
        return told
    return ServingError(f"The pipeline failed. Received: {type(error).__name__}: {first_line(error)}")


def _done_rows(job: _Job, work: WorkDirectory) -> int:
    finished = work.finished()
    return sum(chunk.num_rows for chunk in job.chunks if chunk.number in finished)


@contextlib.contextmanager
def _progress(job: _Job, work: WorkDirectory) -> Iterator[None]:
    """Show how many rows are answered, by the parts that are there: workers may be anywhere."""
    is_done = threading.Event()
    with Progress(job.num_rows, unit="row", what="Answering", first=_done_rows(job, work)) as progress:

        def follow() -> None:
            while not is_done.wait(_POLL_S):
                progress.advance(_done_rows(job, work) - progress.done)

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_done.set()
            thread.join()
            progress.advance(_done_rows(job, work) - progress.done)


@contextlib.contextmanager
def _stopped_by_interrupt(signals: WorkerSignals) -> Iterator[None]:
    """Let the first Ctrl-C end the job after the batches that run; the second one ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT) or signal.SIG_DFL

    def stop(number: int, frame: FrameType | None) -> None:
        signals.stop()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _finish(job: _Job, work: WorkDirectory, *, force: bool) -> FileAnswers:
    """Put the output where it belongs, the bad rows first: with the output the job is done."""
    rows, bad, num_bad = work.assemble(len(job.chunks), header=job.writer.header(), is_packed=job.form.is_packed)
    if num_bad:
        put(bad, job.bad_output, replace=force)
    elif force:
        job.bad_output.unlink(missing_ok=True)
    put(rows, job.output, replace=force)
    work.remove()
    return FileAnswers(job.output, job.num_rows - num_bad, job.bad_output if num_bad else None, num_bad)
