"""Answer the rows of files with an export, once each, also where the job is stopped and started again."""

import contextlib
import importlib.util
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softprompt_tf.errors import ConfigError
from softprompt_tf.export.bulk.choices import CHUNK_ROWS, DIRECT_RUNNER
from softprompt_tf.export.bulk.chunks import input_paths, open_inputs
from softprompt_tf.export.bulk.export_version import find_version
from softprompt_tf.export.bulk.file_formats import format_of
from softprompt_tf.export.bulk.job import Job, bad_path, plan_job
from softprompt_tf.export.bulk.job_run import run_job
from softprompt_tf.export.bulk.settings import AnswerSettings, asked_tasks
from softprompt_tf.export.bulk.work_directory import WorkDirectory, not_overwritten, put
from softprompt_tf.files.directory_lock import locked
from softprompt_tf.files.local_paths import local_target


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


def answer_files(
    export: str | Path,
    input: str | Path,
    output: str | Path,
    *,
    settings: AnswerSettings | None = None,
    input_format: str | None = None,
    output_format: str | None = None,
    chunk_rows: int = CHUNK_ROWS,
    runner: str = DIRECT_RUNNER,
    beam_options: Sequence[str] = (),
    force: bool = False,
) -> FileAnswers:
    """Answer the rows of files in bulk, with Apache Beam.

    Each answered row has the fields of its row, then `answer_row` (its number among all rows, from 1), `answer_task`, and
    `answer_label` and `answer_probability`, or `answer_text` and `answer_score`, or `answer_log_likelihood`. Rows keep their
    order. Bad rows go to OUTPUT.bad.jsonl with their line and the reason.

    A job that was stopped, in whatever way, leaves OUTPUT.work. Called again with the same arguments it continues, and each row is
    in the output once.

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
    work = WorkDirectory(local_target(f"{target}.work", error_type=ConfigError))
    local_target(bad_path(target), error_type=ConfigError)  # a name may be too long with what is put behind it
    form = format_of(target, output_format, option="--output-format")
    paths = input_paths(input)
    _check_apart(paths, target)
    options = _pipeline_options(runner, beam_options)
    version = find_version(export)
    tasks = asked_tasks(settings, version.tasks)
    if not work.path.exists():
        _check_free(target, work, force=force)
    try:
        with locked(work.path, error_type=ConfigError):
            work.check_own()
            with _removed_unless_begun(work):
                _check_free(target, work, force=force)
                files = open_inputs(paths, input_format, unpack_into=work.path)
                job = plan_job(version, tasks, files, target, form, settings=settings, chunk_rows=chunk_rows)
                _begin(work, job.plan, force=force)
            run_job(job, work, options, force=force)
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


def _check_apart(paths: Iterable[Path], output: Path) -> None:
    written = {output.absolute(), bad_path(output).absolute()}
    for path in paths:
        if path.absolute() in written or (output.exists() and path.samefile(output)):
            raise ConfigError(f"The output must be another file than the input. Received: {path} as both.")


def _check_free(output: Path, work: WorkDirectory, *, force: bool) -> None:
    """Refuse an output that exists, unless a job that was stopped at its very end may have written it itself."""
    for path in (output, bad_path(output)):
        if path.exists() and not force and not work.has_plan():
            raise ConfigError(not_overwritten(path))


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
    if work.has_plan():
        try:
            work.check_plan(plan)
        except ConfigError:
            if not force:
                raise
        else:
            return
    work.forget()
    work.begin(plan)


def _finish(job: Job, work: WorkDirectory, *, force: bool) -> FileAnswers:
    """Put the output where it belongs, the bad rows first: with the output the job is done."""
    rows, bad, num_bad = work.assemble(len(job.chunks), header=job.writer.header(), is_packed=job.form.is_packed)
    if num_bad:
        put(bad, job.bad_output, replace=force)
    elif force:
        job.bad_output.unlink(missing_ok=True)
    put(rows, job.output, replace=force)
    work.remove()
    return FileAnswers(job.output, job.num_rows - num_bad, job.bad_output if num_bad else None, num_bad)
