"""The command line: parse, call one function, print.

Exit status: 0 = done, 2 = a mistake in what was asked, reported in one line; 1 = a fault of this library; 130 = interrupted;
75 = another worker of the training was lost, start again.
Each command imports what it needs, so that `softprompt query` starts without TensorFlow.
"""

import argparse
import contextlib
import errno
import os
import re
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn, Protocol

from softprompt_tf.backbones.backbone_option import check_backbone_path
from softprompt_tf.cli import (
    configs_command,
    convert_command,
    demo_command,
    evaluate_command,
    launch_workers,
    mix_command,
    neighbors_command,
    phrases_command,
    predict_command,
    train_command,
)
from softprompt_tf.cli.help_text import HelpWithDefaults
from softprompt_tf.cli.lean_imports import lean_imports
from softprompt_tf.cli.output_encoding import escaped_output
from softprompt_tf.errors import ConfigError, SoftPromptError, VerificationError, WorkerLostError
from softprompt_tf.experiments.commands import add_commands as add_experiment_commands
from softprompt_tf.export import answer_files_command, query_command, serve_commands
from softprompt_tf.export import commands as export_commands
from softprompt_tf.files.local_paths import local_target
from softprompt_tf.interpretability.commands import add_commands as add_interpretability_commands
from softprompt_tf.migration.commands import add_commands as add_migration_commands
from softprompt_tf.pretraining.commands import add_commands as add_pretraining_commands
from softprompt_tf.quiet import quiet
from softprompt_tf.resource_plan.commands import add_commands as add_plan_commands
from softprompt_tf.settings.spelling import nearest
from softprompt_tf.tuning.commands import add_commands as add_tuning_commands
from softprompt_tf.version import __version__

# What a file system says; of a connection, or of a fault of ours, the traceback says more.
_OF_FILES = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENAMETOOLONG}
    | {errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EMFILE, errno.ENFILE}
)
_VERBOSE_HELP = "show the messages of TensorFlow and other libraries, too"


class CommandModule(Protocol):
    """A module with one command."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's arguments to its parser."""

    def run(self, arguments: argparse.Namespace) -> int | None:
        """Do what the arguments say; return the exit status, None for 0."""


def _command(name: str, summary: str, module: CommandModule) -> Callable[[Any], None]:
    """Return what adds a module's command to the sub-parsers of `softprompt`."""

    def add(commands: Any) -> None:
        parser = commands.add_parser(name, help=summary)
        module.add_arguments(parser)
        parser.set_defaults(run=module.run)

    return add


# In the order of `softprompt --help`. A part of the library with several commands has a function that adds them.
_COMMANDS: tuple[Callable[[Any], None], ...] = (
    _command("train", "train a prompt as a run's config says; continues where it was stopped", train_command),
    add_tuning_commands,
    add_plan_commands,
    _command("configs", "list the configs that ship with the library, with their files", configs_command),
    _command("evaluate", "score a prompt on rows of a task; several prompts vote, or are mixed", evaluate_command),
    _command("predict", "answer texts with a prompt, or several that vote, one JSON line each", predict_command),
    _command(
        "mix",
        "learn how much each of several prompts of one task counts, and write them with these weights",
        mix_command,
    ),
    _command("phrases", "find a prompt in words: mined from a corpus, or varied by the T5", phrases_command),
    _command(
        "neighbors",
        "print the pieces of the vocabulary that are nearest to each row of a prompt",
        neighbors_command,
    ),
    _command("export", "write one SavedModel for several tasks, or add, remove and list its tasks", export_commands),
    _command("serve", "serve an export on this machine, with TF Serving if it is installed", serve_commands),
    _command("query", "ask a model server over gRPC, one JSON line per text", query_command),
    _command(
        "answer-files",
        "answer the rows of files with an export, in bulk; continues where it was stopped",
        answer_files_command,
    ),
    _command("convert", "convert a T5 to a KerasHub preset, or a prompt to another format", convert_command),
    add_migration_commands,
    add_interpretability_commands,
    add_experiment_commands,
    add_pretraining_commands,
    _command("demo", "do the complete job on three small tasks: train, export, serve, ask", demo_command),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    parsed = _parsed(build_parser(), arguments)
    try:
        with escaped_output():
            with quiet(is_verbose=parsed.verbose), lean_imports():
                _check_paths(parsed)
                status = parsed.run(parsed) or 0
            sys.stdout.flush()  # here, and not at the end of the process, where nobody catches what goes wrong
        return int(status)
    except WorkerLostError as error:
        if not launch_workers.is_launched():  # else the launcher says which one
            print(f"softprompt: {error}", file=sys.stderr)
        return launch_workers.LOST_STATUS
    except SoftPromptError as error:
        print(f"softprompt: {error}", file=sys.stderr)
        return 1 if isinstance(error, VerificationError) else 2
    except KeyboardInterrupt as stop:
        print(f"softprompt: interrupted{f': {stop}' if str(stop) else ''}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has left, as `| head` does; nothing is to be said to it.
        _drop_output()
    except OSError as error:
        if error.errno not in _OF_FILES:
            raise
        print(f"softprompt: {_about_file(error)}", file=sys.stderr)
        _drop_output()
        return 2
    return 0


def _about_file(error: OSError) -> str:
    """Return a line about a file that no other message is about."""
    if isinstance(error, PermissionError):
        return f"{error.filename or 'A file'} must be one that you may use. Received: {error.strerror}."
    return f"{error.filename or 'A file or the output'} cannot be read or written. Received: {error.strerror}."


def _drop_output() -> None:
    """Let nothing more be said of output that Python still holds, where it cannot be written."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class CommandParser(argparse.ArgumentParser):
    """A parser that suggests the command that a mistyped one is closest to.

    Attributes:
      commands: the names of all commands, once they are added; those of their own parsers are none.
    """

    commands: Collection[str] = ()

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in the arguments, and leave with status 2."""
        mistyped = re.match(r"argument COMMAND: invalid choice: '([^']*)'", message)
        if mistyped:
            message = f"there is no command {mistyped[1]!r}.{nearest(mistyped[1], self.commands)}"
        super().error(message)


def _parsed(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse, and let settings to change stand behind options too, where argparse has none."""
    parsed, rest = parser.parse_known_args(arguments)
    if rest and (not hasattr(parsed, "overrides") or any("=" not in each or each.startswith("-") for each in rest)):
        hint = "; settings are written key=value, such as training.steps=50" if hasattr(parsed, "overrides") else ""
        parser.error(f"unrecognized arguments: {' '.join(rest)}{hint}")
    if rest:
        parsed.overrides = [*parsed.overrides, *rest]
    return parsed


def _check_paths(parsed: argparse.Namespace) -> None:
    """Tell before anything is loaded that a path to write is remote, or that a backbone's directory is not there.

    Raises:
      ConfigError: for the first one.
    """
    for name in ("output", "predictions"):
        if getattr(parsed, name, None) is not None:
            local_target(getattr(parsed, name), error_type=ConfigError)
    check_backbone_path(getattr(parsed, "backbone", None))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = CommandParser(
        prog="softprompt",
        description="Train small prompts for one frozen T5, and serve all of them from one SavedModel. Begin with "
        "`softprompt demo`, or with `softprompt train sentiment`.",
    )
    parser.add_argument("--version", action="version", version=f"softprompt-tf {__version__}")
    parser.add_argument("--verbose", action="store_true", help=_VERBOSE_HELP)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    for add in _COMMANDS:
        add(commands)
    parser.commands = commands.choices
    for choice in commands._choices_actions:
        command, summary = commands.choices[choice.dest], choice.help or ""
        command.description = f"{summary[:1].upper()}{summary[1:]}."
        command.formatter_class = HelpWithDefaults
        command.add_argument("--verbose", action="store_true", default=argparse.SUPPRESS, help=_VERBOSE_HELP)
    return parser


if __name__ == "__main__":
    sys.exit(main())
