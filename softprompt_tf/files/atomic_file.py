"""Write a file completely or not at all, so that no reader sees half of it."""

import contextlib
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from softprompt_tf.errors import SoftPromptError
from softprompt_tf.files.local_paths import local_target

_LONGEST_NAME = 200  # bytes; file systems take 255


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
    return write_together({Path(path): content}, error_type=error_type)[0]


def write_together(contents: Mapping[Path, bytes], *, error_type: type[SoftPromptError]) -> list[Path]:
    """Write files that belong together: all are whole and on the disk before the first one gets its name.

    So neither a full disk nor an interrupt leaves the new one of a pair beside the old other, but for the moment in which they
    are renamed.

    Args:
      contents: where each file goes -> all of its bytes.
      error_type: what is raised if one cannot be written.

    Returns:
      The paths.

    Raises:
      error_type: if a path is remote, or a file cannot be written; whatever stood at the paths before still stands there.
    """
    paths = [local_target(path, error_type=error_type) for path in contents]
    path = paths[0]
    try:
        with contextlib.ExitStack() as files:
            for path, content in zip(paths, contents.values(), strict=True):
                file = files.enter_context(whole_file(path))
                file.write(content)
                if len(paths) > 1:
                    _sync(file)
    except OSError as error:
        raise error_type(f"File {path} cannot be written. Received: {error}. What stood there is kept.") from error
    return paths


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file piece by piece in a `with` block: at its end the file is there, whole; after an error it is not.

    Where `path` is a symbolic link, the file that it leads to is replaced, and the link stays.

    Raises:
      OSError: as it came, if the file cannot be written; whatever stood at `path` before still stands there.
    """
    # In the same directory, since a rename is atomic only within one file system.
    path = Path(os.path.realpath(path))
    temporary = path.with_name(f".{short_name(path.name)}.{secrets.token_hex(6)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            yield file
            _sync(file)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


def short_name(name: str) -> str:
    """Return the beginning of a file's name, so short that a temporary name with a few characters more is one."""
    return name.encode(errors="replace")[:_LONGEST_NAME].decode(errors="ignore")


def sync_directory(directory: Path) -> None:
    """Flush a directory's names to the disk; some network file systems refuse that, which is no reason to fail."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
