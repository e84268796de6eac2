"""Find out whether a file fits on the disk before it is written, for writers that do not bear a full one."""

import contextlib
import os
import secrets
from pathlib import Path


def check_space(directory: Path, num_bytes: int) -> None:
    """Take room for a file in a directory, and give it back.

    So a full disk, a quota and a limit of the process show as they would to a writer. Nothing is checked where the system
    cannot take room ahead (macOS, Windows).

    Args:
      directory: where the file goes.
      num_bytes: of the file.

    Raises:
      OSError: with the system's reason and the bytes, if there is no room.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    trial = directory / f".{secrets.token_hex(6)}.tmp"
    try:
        with open(trial, "xb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, num_bytes))
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}; it takes up to {num_bytes:,} bytes") from error
    finally:
        with contextlib.suppress(OSError):
            trial.unlink(missing_ok=True)
