"""Refuse paths of other machines, such as s3://bucket/x: a local folder of that name would be made or looked for."""

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
      error_type: if it is remote.
    """
    if scheme_of(path):
        raise error_type(
            f"The path to write must be a local one. Received: {_as_given(path)}. Write to a local directory, then copy it there."
        )
    return Path(path)


def local_source(path: str | os.PathLike[str], *, error_type: type[SoftPromptError]) -> Path:
    """Return a path to read from.

    Raises:
      error_type: if it is remote.
    """
    if scheme_of(path):
        raise error_type(f"The path to read must be a local one. Received: {_as_given(path)}. Copy it here first.")
    return Path(path)


def _as_given(path: str | os.PathLike[str]) -> str:
    return _REMOTE.sub(r"\1://", str(path), count=1)
