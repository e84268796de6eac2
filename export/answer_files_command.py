"""`softprompt answer-files`: answer the rows of files with an export, in bulk."""

import argparse
import contextlib
import logging
import os
from collections.abc import Iterator, Sequence

from softprompt_tf.errors import ConfigError
from softprompt_tf.export.bulk.choices import BATCH_SIZE, CHUNK_ROWS, DIRECT_RUNNER, FORMATS, SIGNATURES
from softprompt_tf.quiet import LEVEL
from softprompt_tf.shown_numbers import counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("export", help="an export: the directory that has the versions, or one of them")
    parser.add_argument("input", help="a file of rows, or a quoted pattern such as 'rows/*.jsonl'")
    parser.add_argument("output", help="the file of answered rows; bad rows go to OUTPUT.bad.jsonl")
    parser.add_argument("--task", metavar="ID", help="the task of all rows; default: each row names its own")
    parser.add_argument(
        "--signature",
        choices=SIGNATURES,
        default="auto",
        help="what is asked; `auto` classifies where the task has labels, and generates where it has none",
    )
    parser.add_argument("--task-field", default="task", metavar="NAME", help="the field that names a row's task")
    parser.add_argument("--text-field", default="text", metavar="NAME", help="the field that has a row's text")
    parser.add_argument(
        "--target-field", default="target", metavar="NAME", help="with --signature score: the field to score"
    )
    parser.add_argument(
        "--template",
        action="append",
        default=[],
        metavar="ID=TEMPLATE",
        help="fill the text of a task's rows from their fields, as in 'rte=rte {premise} and {hypothesis}'; may be repeated",
    )
    parser.add_argument("--prefix", default="answer_", help="what the names of the answer's fields begin with")
    parser.add_argument("--log-probabilities", action="store_true", help="write the log-probability of every label")
    parser.add_argument("--input-format", choices=FORMATS, help="default: as the file's name says")
    parser.add_argument("--output-format", choices=FORMATS, help="default: as the file's name says")
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE, metavar="N", help="rows of one run of the model")
    parser.add_argument(
        "--chunk-rows", type=int, default=CHUNK_ROWS, metavar="N", help="rows that are written at a time"
    )
    parser.add_argument(
        "--runner", default=DIRECT_RUNNER, help="a Beam runner (default: %(default)s, the direct one in Python)"
    )
    parser.add_argument(
        "--beam-option", action="append", default=[], metavar="NAME=VALUE", help="an option of Beam; may be repeated"
    )
    parser.add_argument(
        "--force", action="store_true", help="replace an output that exists, and forget another unfinished job"
    )


def run(arguments: argparse.Namespace) -> None:
    """Answer, and print one line about it.

    Raises:
      SoftPromptError: for a mistake in what was asked.
    """
    with _quiet_beam():
        from softprompt_tf.export.bulk.answer_files import answer_files
        from softprompt_tf.export.bulk.settings import AnswerSettings

        names = ("task", "signature", "task_field", "text_field", "target_field", "prefix", "batch_size")
        settings = AnswerSettings(
            templates=_templates(arguments.template),
            log_probabilities=arguments.log_probabilities,
            **{name: getattr(arguments, name) for name in names},
        )
        done = answer_files(
            arguments.export,
            arguments.input,
            arguments.output,
            settings=settings,
            input_format=arguments.input_format,
            output_format=arguments.output_format,
            chunk_rows=arguments.chunk_rows,
            runner=arguments.runner,
            beam_options=arguments.beam_option,
            force=arguments.force,
        )
    bad = f", {counted(done.num_bad, 'bad row')} in {done.bad_output}" if done.num_bad else ""
    print(f"{done.output}: {counted(done.num_answered, 'row')} answered{bad}")


def _templates(values: Sequence[str]) -> dict[str, str]:
    templates: dict[str, str] = {}
    for value in values:
        name, equals, template = value.partition("=")
        if not (name and equals and template):
            raise ConfigError(f"`--template` must be ID=TEMPLATE. Received: {value!r}.")
        if name in templates:
            raise ConfigError(f"Every task may have one template. Received: {name!r} twice.")
        templates[name] = template
    return templates


@contextlib.contextmanager
def _quiet_beam() -> Iterator[None]:
    """Keep Beam's lines away, which it also writes to the root logger; what fails comes as an error of ours."""
    if os.environ.get(LEVEL) in ("0", "1"):  # somebody who asks for TensorFlow's lines gets these too
        yield
        return
    loggers = [logging.getLogger(), logging.getLogger("apache_beam")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
