"""Find the version of an export that answers, and its digest."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from softprompt_tf.errors import ExportError
from softprompt_tf.export.graph.served_tasks import ServedTask
from softprompt_tf.export.versions.task_shards import StoredTasks, index_file
from softprompt_tf.export.versions.version_numbers import find_versions
from softprompt_tf.files.local_paths import local_source


class ExportVersion(NamedTuple):
    """A version: its directory, the digest of its content, and its tasks by name."""

    directory: Path
    digest: str
    tasks: dict[str, ServedTask]


def find_version(export: str | Path) -> ExportVersion:
    """Return the version in a directory, or the newest one of a base directory.

    Raises:
      ExportError: if there is none, or its tasks cannot be read.
    """
    base = local_source(export, error_type=ExportError)
    versions = find_versions(base)
    if (base / "saved_model.pb").is_file():
        directory = base
    elif versions:
        directory = versions[max(versions)]
    else:
        raise ExportError(
            f"The export must be a base directory with versions such as 1/, or a version. Received: {base}. "
            "Write one with `softprompt export`."
        )
    tasks = {task.task_id: task for task in StoredTasks.read(directory).rows}
    return ExportVersion(directory.absolute(), _digest(directory), tasks)


def _digest(directory: Path) -> str:
    """Return the SHA-256 of the graph and of the index, which has a checksum of every tensor: weights are not read."""
    digest = hashlib.sha256()
    try:
        for path in (directory / "saved_model.pb", index_file(directory)):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    except OSError as error:
        raise ExportError(f"The export cannot be read: {error}.") from error
    return digest.hexdigest()
