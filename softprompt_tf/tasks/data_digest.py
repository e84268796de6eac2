"""Digests of data, by which a run that goes on notices that its rows have changed."""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from softprompt_tf.errors import DataError
from softprompt_tf.tasks.sources import Source, source_file
from softprompt_tf.tasks.task import Example

_BYTES_PER_READ = 2**20


def examples_digest(examples: Iterable[Example]) -> str:
    """Return 64 hexadecimal digits that differ where rows differ in what is trained on or scored.

    The rows are those of the task, after slices, preprocessing and templates. So it covers every kind of source, and a change
    that no row shows does not count.
    """
    digest = hashlib.sha256()
    for each in examples:
        row = [each.inputs, each.target, list(each.references), list(each.group)]
        digest.update(json.dumps(row).encode("utf-8"))
        digest.update(b"\n")
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes.

    Raises:
      DataError: if it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BYTES_PER_READ):
                digest.update(block)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}.") from error
    return digest.hexdigest()


def file_facts(source: Source) -> dict[str, object]:
    """Return name, size in bytes and time of a source's file; {} for a source that is no file."""
    path = source_file(source)
    if path is None or not path.is_file():
        return {}
    status = path.stat()
    modified = datetime.fromtimestamp(status.st_mtime, UTC).isoformat(timespec="seconds")
    return {"file": path.name, "bytes": status.st_size, "modified": modified}
