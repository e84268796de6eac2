"""Refuse to go on with a sweep whose data files have changed: its results would be of different rows.

OUTPUT/data.json   each file, by its folder and name -> SHA-256 of its bytes
"""

import json
from collections.abc import Iterable
from pathlib import Path

from softprompt_tf.config import SPLITS, TaskConfig
from softprompt_tf.errors import ConfigError
from softprompt_tf.files.atomic_file import write_atomically
from softprompt_tf.tasks.data_digest import file_digest
from softprompt_tf.tasks.sources import source_file


def check_data_files(path: Path, tasks: Iterable[TaskConfig]) -> None:
    """Remember the content of the tasks' files, or compare it with what is remembered.

    Where the files lie does not matter, only their folder's and their own name, as in the results.

    Args:
      path: of the JSON file.
      tasks: whose splits are read.

    Raises:
      ConfigError: if a file has another content than when the sweep began.
      DataError: if a file cannot be read.
    """
    known = _known(path)
    found = {name: file_digest(file) for name, file in _files(tasks).items()}
    for name, digest in found.items():
        if known.get(name, digest) != digest:
            raise ConfigError(
                f"A sweep's data must stay the same. Received: {name} with digest {digest[:12]}; the results in {path.parent} are "
                f"of a file with digest {known[name][:12]}. Put the old file back, or give another --output."
            )
    if found.items() - known.items():
        content = json.dumps(known | found, indent=2, sort_keys=True) + "\n"
        write_atomically(path, content.encode("utf-8"), error_type=ConfigError)


def _files(tasks: Iterable[TaskConfig]) -> dict[str, Path]:
    """Return name -> file; the name has further folders where those of two files are the same."""
    sources = (source_file(getattr(task, split)) for task in tasks for split in SPLITS)
    found = {file for file in sources if file is not None and file.is_file()}
    files: dict[str, Path] = {}
    for file in found:
        parts = 2
        while any(file.parts[-parts:] == other.parts[-parts:] for other in found if other != file):
            parts += 1
        files["/".join(file.parts[-parts:])] = file
    return files


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
