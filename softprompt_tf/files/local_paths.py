"""Refuse paths of other machines, such as s3://bucket/x: a local folder of that name would be made or looked for. And those that
this process may not look at, which `Path.is_dir` and its like answer with an error of the system."""

import os
import re
from pathlib import Path

from softprompt_tf.errors import SoftPromptError

# `Path` makes one slash of two. Two letters or more, as one is a drive of Windows.
_REMOTE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")


def scheme_of(path: str | os.PathLike[str]) -> str:
    """Return the scheme of a remote path, "s3" of "s3://bucket/x"; "" for a local one."""
    match = _REMOTE.match(str(path))
    return match[1] if match else ""


def local_target(path: str | os.PathLike[str], *, error_type: type[SoftPromptError]) -> Path:
    """Return a path to write to.

    Raises:
      error_type: if it is remote, no path of any file, or where this process may not look.
    """
    if "\0" in str(path):
        raise error_type(f"The path to write must have no NUL character. Received: {str(path)!r:.200}.")
    if scheme_of(path):
        raise error_type(
            f"The path to write must be a local one. Received: {_as_given(path)}. Write to a local directory, then copy it there."
        )
    return _seen(Path(path), error_type)


def local_source(path: str | os.PathLike[str], *, error_type: type[SoftPromptError]) -> Path:
    """Return a path to read from.

    Raises:
      error_type: if it is remote, or where this process may not look.
    """
    if scheme_of(path):
        raise error_type(f"The path to read must be a local one. Received: {_as_given(path)}. Copy it here first.")
    return looked_at(Path(path), error_type=error_type)


def looked_at(path: Path, *, error_type: type[SoftPromptError]) -> Path:
    """Return a local path to read from.

    Raises:
      error_type: if this process may not look there, or into the directory that it is.
    """
    if _seen(path, error_type).is_dir() and not os.access(path, os.R_OK | os.X_OK):
        raise error_type(f"A directory must be one that can be read. Received: {path}: Permission denied.")
    return path


def _seen(path: Path, error_type: type[SoftPromptError]) -> Path:
    """Return a path of which it can be said whether anything is there, as `Path.exists` says it."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last of a NUL character
        pass
    except OSError as error:
        raise error_type(f"A path must be one that can be looked at. Received: {path}: {error.strerror}.") from error
    return path


def _as_given(path: str | os.PathLike[str]) -> str:
    return _REMOTE.sub(r"\1://", str(path), count=1)
