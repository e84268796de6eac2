"""`softprompt export`: write an export, or add, remove and list its tasks."""

import argparse
import contextlib
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from softprompt_tf.backbones.backbone_option import BACKBONE_HELP, backbone_of
from softprompt_tf.errors import ConfigError, ExportError
from softprompt_tf.files.local_paths import local_target
from softprompt_tf.settings.spelling import check_files
from softprompt_tf.shown_numbers import counted
from softprompt_tf.shown_text import in_one_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command.

    `--prompt` writes a new export. `--add`, `--remove` and `--list` use an existing one, and need no backbone.
    """
    parser.add_argument(
        "directory", nargs="?", help="the export's base directory, such as exports/t5; the same as --output"
    )
    parser.add_argument("--output", help="the export's base directory")
    parser.add_argument(
        "--prompt",
        action="append",
        default=[],
        metavar="ID=FILE",
        help="write a new export with this task; with ID=FILE,FILE the prompts vote; may be repeated",
    )
    parser.add_argument(
        "--add",
        action="append",
        default=[],
        metavar="ID=FILE",
        help="add a task to an export, written as in --prompt; may be repeated",
    )
    parser.add_argument("--replace", action="store_true", help="with --add: replace a task of the same name")
    parser.add_argument(
        "--remove", action="append", default=[], metavar="ID", help="remove a task from an export; may be repeated"
    )
    parser.add_argument(
        "--list",
        action="store_true",
        help="print the tasks of an export's newest version; of another one where DIRECTORY is that, such as exports/t5/1",
    )
    parser.add_argument(
        "--backbone", help=f"with --prompt: {BACKBONE_HELP}. Default: the one that the first prompt names"
    )
    parser.add_argument(
        "--table-dtype",
        choices=("float32", "bfloat16", "float16"),
        default="float32",
        help="with --prompt: how prompts are stored, including those that are added later",
    )
    parser.add_argument(
        "--compute-dtype",
        choices=("float32", "bfloat16", "auto"),
        help="with --prompt: what the graph computes in, and its weights are stored in; auto: bfloat16 where it is faster on this "
        "machine and agrees with float32; default: float32",
    )
    parser.add_argument("--no-verify", action="store_true", help="do not run the result to check its answers")


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments ask for, and print one line about it; with --list one line for each task."""
    directory = _directory(arguments)
    local_target(directory, error_type=ConfigError)
    asked = [name for name in ("prompt", "add", "remove", "list") if getattr(arguments, name)]
    if len(asked) != 1:
        received = ", ".join(f"--{name}" for name in asked) or "none of them"
        raise ConfigError(
            f"`export` takes one of --prompt, --add, --remove and --list. Received: {received}."
            " Example: softprompt export --prompt film=film.safetensors --output exports/t5."
        )
    if arguments.replace and asked != ["add"]:
        raise ConfigError(f"`--replace` goes with --add. Received: --{asked[0]}.")
    if arguments.compute_dtype and asked != ["prompt"]:
        raise ConfigError(f"`--compute-dtype` goes with --prompt. Received: --{asked[0]}.")
    {"prompt": _write, "add": _add, "remove": _remove, "list": _list}[asked[0]](directory, arguments)


def _write(directory: str, arguments: argparse.Namespace) -> None:
    prompts = _pairs(arguments.prompt, "--prompt")
    files = _check_prompts(prompts)
    from softprompt_tf.backbones import load_t5
    from softprompt_tf.export.versions.compute_dtype import load_for_export
    from softprompt_tf.export.versions.saved_model import write_saved_model
    from softprompt_tf.methods import load_prompt

    backbone = arguments.backbone or backbone_of(load_prompt(files[0]))
    t5 = load_for_export(lambda dtype: load_t5(backbone, dtype=dtype), arguments.compute_dtype or "float32", prompts)
    earlier = _newest_tasks(directory)
    version = write_saved_model(
        directory, t5, prompts, verify=not arguments.no_verify, table_dtype=arguments.table_dtype
    )
    checked = "not checked" if arguments.no_verify else "checked against Keras"
    computes = "" if t5.compute_dtype == "float32" else f" in {t5.compute_dtype}"
    print(f"{version}: {counted(len(prompts), 'task')} on {t5.name}{computes}, {checked}")
    if left_out := [task for task in earlier if task not in prompts]:
        print(f"Not in it, but in the version before: {', '.join(left_out)}. `--add` keeps the tasks that are there.")
    print(f"Next: softprompt serve {shlex.quote(directory)}")


def _newest_tasks(directory: str) -> list[str]:
    """Return the task ids of the newest version; none where there is no export that this library can list."""
    from softprompt_tf.export.versions.task_changes import list_tasks

    with contextlib.suppress(ExportError):
        return [task.task_id for task in list_tasks(directory)]
    return []


def _add(directory: str, arguments: argparse.Namespace) -> None:
    prompts = _pairs(arguments.add, "--add")
    _check_prompts(prompts)
    from softprompt_tf.export.versions.task_changes import add_tasks

    there = set(_newest_tasks(directory)) if arguments.replace else set()
    version = add_tasks(directory, prompts, replace=arguments.replace, verify=not arguments.no_verify)
    done = {"added": prompts.keys() - there, "replaced": prompts.keys() & there}
    said = ", ".join(f"{counted(len(tasks), 'task')} {what}" for what, tasks in done.items() if tasks)
    print(f"{version}: {said}, {_checked(arguments)}")


def _remove(directory: str, arguments: argparse.Namespace) -> None:
    from softprompt_tf.export.versions.task_changes import remove_tasks

    version = remove_tasks(directory, arguments.remove, verify=not arguments.no_verify)
    print(f"{version}: {counted(len(set(arguments.remove)), 'task')} removed, {_checked(arguments)}")


def _list(directory: str, arguments: argparse.Namespace) -> None:
    from softprompt_tf.export.versions.task_changes import list_tasks

    for task in list_tasks(directory):
        labels = f"  labels: {', '.join(map(in_one_line, task.labels))}" if task.labels else ""
        times = f"{task.num_members} x " if task.num_members > 1 else ""
        method = "" if task.method == "prompt_tuning" else f"{task.method}, "
        rows = counted(task.prompt_length, "row")
        print(f"{in_one_line(task.task_id)}  {method}{times}{rows}, {counted(task.num_bytes, 'byte')}{labels}")


def _directory(arguments: argparse.Namespace) -> str:
    given = [place for place in (arguments.directory, arguments.output) if place is not None]
    if len(given) != 1:
        raise ConfigError(
            f"`export` takes one base directory, DIRECTORY or --output DIRECTORY. Received: {' and '.join(given) or 'none'}."
        )
    return given[0]


def _pairs(values: Sequence[str], option: str) -> "dict[str, str | list[str]]":
    """Return task id -> file, or the files of an ensemble."""
    pairs: dict[str, str | list[str]] = {}
    for value in values:
        name, path = _parted(value)
        if not (name and path):
            raise ConfigError(f"`{option}` must be ID=FILE, such as film=film.safetensors. Received: {value!r}.")
        if name in pairs:
            raise ConfigError(f"Every task id may be given once. Received: {name!r} twice.")
        files = _files(path)
        if not all(files):
            raise ConfigError(f"`{option}` must be ID=FILE or ID=FILE,FILE. Received: {value!r}.")
        pairs[name] = files if len(files) > 1 else files[0]
    return pairs


def _parted(value: str) -> tuple[str, str]:
    """Part ID=FILE at the first `=` behind which files are that are there, as an id may have one too; else at the first."""
    places = [place for place, character in enumerate(value) if character == "="]
    parts = [(value[:place], value[place + 1 :]) for place in places]
    fitting = (part for part in parts if all(part) and all(Path(file).exists() for file in _files(part[1])))
    return next(fitting, parts[0] if parts else (value, ""))


def _check_prompts(prompts: Mapping[str, str | list[str]]) -> list[str]:
    """Return all files, once they are known to be there."""
    files = [file for each in prompts.values() for file in ([each] if isinstance(each, str) else each)]
    check_files(files)
    return files


def _files(names: str) -> list[str]:
    """Part names of files at their commas, but not at those within the name of a file that is there."""
    files, rest = [], names.split(",")
    while rest:
        lengths = range(len(rest), 1, -1)
        length = next((count for count in lengths if Path(",".join(rest[:count])).exists()), 1)
        files.append(",".join(rest[:length]))
        rest = rest[length:]
    return files


def _checked(arguments: argparse.Namespace) -> str:
    return "not checked" if arguments.no_verify else "the others answer as before"
