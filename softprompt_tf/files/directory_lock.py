"""Keep two processes out of one run directory.

The lock belongs to the process: when that ends, in whatever way, the system releases it.
"""

import contextlib
import os
import socket
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from softprompt_tf.errors import SoftPromptError
from softprompt_tf.files.local_paths import local_target

try:
    import fcntl
except ImportError:  # no such locks on this system
    fcntl = None  # type: ignore[assignment]

LOCK_FILE = ".lock"
_PAUSE_S = 0.02


@contextlib.contextmanager
def locked(
    directory: str | os.PathLike[str],
    *,
    error_type: type[SoftPromptError],
    name: str = LOCK_FILE,
    patience_s: float = 0.0,
) -> Iterator[None]:
    """Hold a directory's lock for a `with` block; the directory is made where it is missing.

    Args:
      directory: of the run.
      error_type: what is raised.
      name: of the lock's file; `.NAME.lock` for one of what `directory` holds. A process that is killed leaves it behind,
        unlocked.
      patience_s: so many seconds the lock of another is waited for.

    Raises:
      error_type: if the directory is remote or cannot be written, or another process, or another run of this one, holds the
        lock.

    Warns:
      UserWarning: where the file system has no locks; the block then runs without one.
    """
    path = local_target(directory, error_type=error_type) / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _open_patiently(path, patience_s)
    except BlockingIOError:
        raise error_type(
            f"A directory is for one process at a time. Received: {_locked_by(path)}, which {_holder(path)} is using. "
            "Wait for its end, or choose another directory."
        ) from None
    except OSError as error:
        raise error_type(f"The directory {path.parent} cannot be made or written: {error}.") from error
    try:
        yield
    finally:
        # Removed while it is still held, so that no other process's lock is taken away.
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _open_patiently(path: Path, patience_s: float) -> int:
    until = time.monotonic() + patience_s
    while True:
        try:
            return _open_locked(path)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
        time.sleep(_PAUSE_S)


def _open_locked(path: Path) -> int:
    while True:
        descriptor, is_ours = _open(path)
        try:
            _lock(descriptor, path)
            if _is_file(descriptor, path):
                if is_ours:
                    _write_holder(descriptor)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # another run ended in between and took the file with it


def _write_holder(descriptor: int) -> None:
    """Say who holds the lock; a full disk, which has no room for that, does not take the lock away."""
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())


def _open(path: Path) -> tuple[int, bool]:
    """Open a lock's file, and say whether it may be written: a killed process of another user may have left it."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644), True
    except PermissionError:
        if not path.exists():
            raise
        return os.open(path, os.O_RDONLY), False


def _lock(descriptor: int, path: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        warnings.warn(f"{path.parent} cannot be locked ({error}). Start no second run in it.", stacklevel=7)


def _is_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _locked_by(path: Path) -> Path:
    return path.parent if path.name == LOCK_FILE else path.with_name(path.name.removesuffix(LOCK_FILE)[1:])


def _holder(path: Path) -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text("utf-8") or "another process"
    return "another process"
