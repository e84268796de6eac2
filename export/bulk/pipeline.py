"""The Beam pipeline: chunks enter, and each one's answers are written to a part of its own.

There is no step that waits for all rows, so that what is answered is on the disk within seconds.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import apache_beam as beam
from apache_beam.ml.inference.base import RunInference
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import create_runner

from softprompt_tf.errors import ConfigError, first_line
from softprompt_tf.export.bulk.chunks import Chunk
from softprompt_tf.export.bulk.model_handler import AnsweredChunk, ExportHandler
from softprompt_tf.export.bulk.output_rows import RowWriter
from softprompt_tf.export.bulk.questions import AskedChunk, BadRow, read_chunk
from softprompt_tf.export.bulk.settings import AskedTask
from softprompt_tf.export.bulk.work_directory import WorkDirectory
from softprompt_tf.export.bulk.worker_signals import WorkerSignals
from softprompt_tf.files.json_lines import json_line


def pipeline_options(runner: str, options: Sequence[str]) -> PipelineOptions:
    """Return Beam's options.

    Args:
      runner: the name of a runner.
      options: each NAME=VALUE or NAME, without hyphens in front.

    Raises:
      ConfigError: for an option that no part of Beam knows.
    """
    flags = [f"--{option.removeprefix('--')}" for option in options]
    try:
        parsed = PipelineOptions([f"--runner={runner}", *flags])
        unknown = set(parsed.get_all_options(retain_unknown_options=True)) - set(parsed.get_all_options())
    except (SystemExit, ValueError) as error:
        raise ConfigError(f"Beam must know its options. Received: {' '.join(flags)} ({error}).") from None
    try:
        create_runner(runner)
    except (ValueError, ImportError, AttributeError) as error:
        raise ConfigError(f"Beam must know its runner. Received: {runner} ({first_line(error)}).") from None
    if unknown:
        raise ConfigError(f"Beam must know its options. Received: {', '.join(sorted(unknown))}.")
    return parsed


def run_pipeline(
    chunks: Sequence[Chunk],
    *,
    export: str,
    tasks: Mapping[str, AskedTask],
    writer: RowWriter,
    signals: WorkerSignals,
    options: PipelineOptions,
) -> None:
    """Answer chunks, and return when all of them are written or the job was stopped.

    Args:
      chunks: that have no part yet.
      export: the version's directory.
      tasks: how rows of each task are asked.
      writer: turns rows into bytes.
      signals: between workers and job; their directory is the work directory.
      options: Beam's, the runner among them.
    """
    handler = ExportHandler(export, batch_size=writer.settings.batch_size, signals=signals)
    pipeline = beam.Pipeline(options=options)
    (
        pipeline
        | "Chunks" >> beam.Create(list(chunks))
        | "Read rows" >> beam.ParDo(_ReadChunk(tasks, writer, signals))
        | "Answer" >> RunInference(handler)
        | "Write part" >> beam.ParDo(_WritePart(writer, signals))
    )
    pipeline.run().wait_until_finish()


class _ReadChunk(beam.DoFn):
    def __init__(self, tasks: Mapping[str, AskedTask], writer: RowWriter, signals: WorkerSignals):
        self._tasks, self._writer, self._signals = tasks, writer, signals

    def process(self, element: Chunk) -> Iterator[AskedChunk]:
        if not self._signals.is_stopped():
            with self._signals.failures_told():
                yield read_chunk(element, self._writer.settings, self._tasks)


class _WritePart(beam.DoFn):
    def __init__(self, writer: RowWriter, signals: WorkerSignals):
        self._writer, self._signals = writer, signals

    def process(self, element: AnsweredChunk | None) -> None:
        if element is None:  # the job was stopped
            return
        with self._signals.failures_told():
            answers = element.answers
            questions = [question for question in element.asked.questions if question.row in answers]
            rows = b"".join(self._writer.row(question, answers[question.row]) for question in questions)
            bad = b"".join(_line(row) for row in element.bad)
            work = WorkDirectory(Path(self._signals.directory))
            work.write_part(element.asked.chunk.number, rows=rows, bad=bad)


def _line(row: BadRow) -> bytes:
    # The name of a file may hold bytes that are no UTF-8; they become escapes of JSON.
    return json_line(row.as_json()).encode("utf-8", "backslashreplace") + b"\n"
