"""Refuse to go on with a sweep whose files have changed: its results would be of different rows, or of different starts.

OUTPUT/data.json   each file, by its folder and name -> SHA-256 of its bytes
"""

import json
from collections.abc import Iterable
from pathlib import Path

from softprompt_tf.config import SPLITS, TaskConfig
from softprompt_tf.errors import ConfigError
from softprompt_tf.experiments.settings import RunSettings
from softprompt_tf.files.atomic_file import write_atomically
from softprompt_tf.tasks.data_digest import file_digest
from softprompt_tf.tasks.sources import source_file


def check_data_files(path: Path, tasks: Iterable[TaskConfig], settings: Iterable[RunSettings] = ()) -> None:
    """Remember the content of the tasks' files, and of prompts that runs start from, or compare it with what is remembered.

    Where the files lie does not matter, only their folder's and their own name, as in the results.

    Args:
      path: of the JSON file.
      tasks: whose splits are read.
      settings: of the runs, which may name prompt files: first values, source prompts, teachers.

    Raises:
      ConfigError: if a file has another content than when the sweep began.
      DataError: if a file cannot be read.
    """
    known = _known(path)
    found = {name: file_digest(file) for name, file in _files(tasks, settings).items()}
    for name, digest in found.items():
        if known.get(name, digest) != digest:
            raise ConfigError(
                f"A sweep's data must stay the same. Received: {name} with digest {digest[:12]}; the results in {path.parent} are "
                f"of a file with digest {known[name][:12]}. Put the old file back, or give another --output."
            )
    if found.items() - known.items():
        content = json.dumps(known | found, indent=2, sort_keys=True) + "\n"
        write_atomically(path, content.encode("utf-8"), error_type=ConfigError)


def _files(tasks: Iterable[TaskConfig], settings: Iterable[RunSettings]) -> dict[str, Path]:
    """Return name -> file; the name has further folders where those of two files are the same."""
    sources = (source_file(getattr(task, split)) for task in tasks for split in SPLITS)
    prompts = (file.absolute() for each in settings for file in _prompts_of(each))
    found = {file for file in (*sources, *prompts) if file is not None and file.is_file()}
    files: dict[str, Path] = {}
    for file in found:
        parts = 2
        while any(file.parts[-parts:] == other.parts[-parts:] for other in found if other != file):
            parts += 1
        files["/".join(file.parts[-parts:])] = file
    return files


def _prompts_of(settings: RunSettings) -> list[Path]:
    """Return the files of trained prompts that settings name."""
    prompt, teachers = settings.prompt, settings.training.distill_from
    kind, _, first = prompt.first_values.partition(":")
    return [
        *([Path(first)] if kind == "file" else []),
        *map(Path, getattr(prompt, "sources", ())),
        *map(Path, [teachers] if isinstance(teachers, str) else (teachers or {}).values()),
    ]


def _known(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        return {str(name): str(digest) for name, digest in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{path} must hold the digests of a sweep's files. Received: {error!r}. Without the file the sweep goes on and takes "
            "the files as they are now."
        ) from error
