"""Write a version into a model's base directory completely or not at all: staging, numbers, syncing, one move."""

import errno
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

from softprompt_tf.errors import ExportError
from softprompt_tf.files.local_paths import local_target

_STAGING = ".writing-"
LEFTOVER_AGE_S = 3600
MAX_VERSION = 2**63 - 1
_VERSION_NAME = re.compile(r"\s*[+-]?[0-9]+\s*", re.ASCII)
_LONGEST_NAME = 255  # of an entry in any file system; and Python reads no number of more than 4,300 digits


@contextmanager
def staged_version(base: Path) -> Iterator[Path]:
    """Give an empty directory under a name that no server looks at; what is still there at the end is removed.

    What a killed process left behind is removed as well, where nothing in it has changed for an hour.

    Args:
      base: the model's base directory; made if it does not exist.

    Raises:
      ExportError: if the block or the directory itself fails with an error of the file system or of TensorFlow.
    """
    base = local_target(base, error_type=ExportError)
    if base.exists() and not base.is_dir():
        raise ExportError(f"The output must be a directory. Received: {base}, which is a file.")
    try:
        base.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(base)
        staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=base))
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except (OSError, tf.errors.OpError) as error:
        raise ExportError(f"The export to {base} cannot be written: {error}.") from error


def parse_version(name: str) -> int | None:
    """Return the version that a server takes an entry of a base directory for; None where it passes it over.

    A sign, leading zeros and blanks are let through, and whether the entry is a directory is not looked at.

    Source: tensorflow/serving sources/storage_path/file_system_storage_path_source.cc; absl `SimpleAtoi`.
    """
    if _VERSION_NAME.fullmatch(name) is None or len(name) > _LONGEST_NAME:
        return None
    number = int(name)
    return number if 0 <= number <= MAX_VERSION else None


def version_numbers(base: Path) -> list[int]:
    """Return the numbers of the versions in a base directory, the lowest first."""
    names = [child.name for child in base.iterdir()] if base.is_dir() else []
    return sorted(int(name) for name in names if name.isdecimal() and parse_version(name) is not None)


def next_version(base: Path) -> int:
    """Return one more than the highest version that a server would see, 1 where there is none."""
    numbers = [parse_version(child.name) for child in base.iterdir()] if base.is_dir() else []
    return 1 + max((number for number in numbers if number is not None), default=0)


def check_version(base: Path, version: int | None) -> None:
    """Refuse a version's number that is not free; None, for the next one, always is.

    Raises:
      ExportError: if the version is negative or exists.
    """
    if version is None:
        return
    if not 0 <= version <= MAX_VERSION:
        raise ExportError(
            f"`version` must be from 0 to {MAX_VERSION}. Received: version={version}. No server looks at others."
        )
    target = base / str(version)
    if target.exists():
        raise ExportError(f"A version that exists is never overwritten. Received: {target}. Leave `version` out.")


def publish(staging: Path, target: Path) -> bool:
    """Flush a staged version to the disk and rename it; return whether it is there, False if another took its number."""
    _sync(staging)
    staging.chmod(0o755)
    if target.exists():
        return False
    try:
        os.rename(staging, target)  # fails if another process has put a version there since
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            return False
        raise
    _sync_path(target.parent)
    return True


def _remove_leftovers(base: Path) -> None:
    for leftover in base.glob(f"{_STAGING}*"):
        if time.time() - _last_change(leftover) > LEFTOVER_AGE_S:
            shutil.rmtree(leftover, ignore_errors=True)


def _last_change(directory: Path) -> float:
    """Return the last time that anything in a directory changed; "now" where it goes away meanwhile."""
    try:
        # Of directories alone: a linked file keeps the time at which it was first written.
        return max(path.stat().st_mtime for path in [directory, *directory.rglob("*")])
    except OSError:
        return time.time()


def _sync(directory: Path) -> None:
    """Flush every file and directory to the disk, so that a version that is there after a crash is whole."""
    for path in [directory, *directory.rglob("*")]:
        _sync_path(path)


def _sync_path(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
