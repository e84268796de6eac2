"""Write a version into a model's base directory completely or not at all: staging, syncing, one move."""

import contextlib
import errno
import functools
import operator
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import tensorflow as tf

from softprompt_tf.errors import ExportError, first_line
from softprompt_tf.files.atomic_file import sync_directory
from softprompt_tf.files.directory_lock import locked
from softprompt_tf.files.local_paths import local_target

_STAGING = ".writing-"
LEFTOVER_AGE_S = 3600
_PUBLISHING = ".publish.lock"
_PATIENCE_S = 60.0  # for another's rename


@contextlib.contextmanager
def staged_version(base: Path) -> Iterator[Path]:
    """Give an empty directory under a name that no server looks at; what is still there at the end is removed.

    What a killed process left behind is removed as well, where nothing in it has changed for an hour. A writer that still
    compares answers changes nothing for as long; its lock, which goes with its process, keeps its directory.

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
        with _writing(staging):
            try:
                yield staging
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    except (OSError, tf.errors.OpError) as error:
        raise ExportError(f"The export to {base} cannot be written: {first_line(error, longest=1000)}.") from error


def publish(staging: Path, target: Path, *, still_fits: Callable[[], bool] | None = None) -> bool:
    """Flush a staged version to the disk and rename it.

    Args:
      staging: the directory that is written.
      target: where it goes.
      still_fits: asked between the two, as the first takes long where there are many bytes. No other version is published
        between the answer and the move.

    Returns:
      Whether it is there; False if it no longer fits, or another took its number.

    Raises:
      ExportError: if another process holds the base directory's lock for a minute.
    """
    _sync(staging)
    # Open to all, as `mkdtemp` lets in its owner alone; and to whom the folders in it are, such as a group that may write.
    folders = [path.stat().st_mode for path in staging.iterdir() if path.is_dir()]
    staging.chmod(functools.reduce(operator.or_, map(stat.S_IMODE, folders), 0o755))
    with locked(target.parent, error_type=ExportError, name=_PUBLISHING, patience_s=_PATIENCE_S):
        if target.exists() or (still_fits is not None and not still_fits()):
            return False
        try:
            os.rename(staging, target)  # fails if something else has put a version there since
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                return False
            raise
        sync_directory(target.parent)
    return True


def _writing(staging: Path) -> contextlib.AbstractContextManager[None]:
    """Hold the lock that says that the writer of a directory is alive; an ExportError where another holds it."""
    return locked(staging.parent, error_type=ExportError, name=f".{staging.name}.lock")


def _remove_leftovers(base: Path) -> None:
    for leftover in base.glob(f"{_STAGING}*"):
        if time.time() - _last_change(leftover) > LEFTOVER_AGE_S:
            with contextlib.suppress(ExportError), _writing(leftover):
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
        if path.is_dir():
            sync_directory(path)
            continue
        with path.open("rb") as file:
            os.fsync(file.fileno())
