"""Write a file completely or not at all, so that no reader sees half of it."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from softprompt_tf.errors import SoftPromptError
from softprompt_tf.files.local_paths import local_target


def write_atomically(path: str | Path, content: bytes, *, error_type: type[SoftPromptError]) -> Path:
    """Write a whole file under a temporary name beside it, sync it to the disk and rename it.

    A process that is killed in between leaves the temporary file, `.<name>.<12 hexadecimal digits>.tmp`.

    Args:
      path: where the file goes; missing parent directories are made.
      content: all of its bytes.
      error_type: what is raised if the file cannot be written.

    Returns:
      The path.

    Raises:
      error_type: if the path is remote, or the file cannot be written; whatever stood at `path` before still stands there.
    """
    path = local_target(path, error_type=error_type)
    try:
        with whole_file(path) as file:
            file.write(content)
    except OSError as error:
        raise error_type(f"File {path} cannot be written. Received: {error}. What stood there is kept.") from error
    return path


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file piece by piece in a `with` block: at its end the file is there, whole; after an error it is not.

    Raises:
      OSError: as it came, if the file cannot be written; whatever stood at `path` before still stands there.
    """
    # In the same directory, since a rename is atomic only within one file system.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    # The rename has happened; some network file systems refuse to sync a directory, which is no reason to fail.
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
