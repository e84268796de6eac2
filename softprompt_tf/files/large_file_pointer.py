"""Recognize files that Git LFS has not downloaded: a few lines of text with the size and hash of the real file."""

from pathlib import Path

_FIRST_LINE = b"version https://git-lfs.github.com/spec/"
_LARGEST_POINTER = 1024  # bytes; git-lfs:docs/spec.md


def refuse_pointer(path: str | Path, *, error_type: type[Exception]) -> None:
    """Raise if a file is a Git LFS pointer; a file that cannot be read passes, and its reader says why.

    Args:
      path: the file that is about to be read.
      error_type: the exception to raise, made from one message.
    """
    path = Path(path)
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_POINTER:
            return
        content = path.read_bytes()
    except OSError:
        return
    if content.startswith(_FIRST_LINE):
        raise error_type(
            f"{path} must be the file itself. Received: a Git LFS pointer, which only names the file. "
            "Run `git lfs pull` in the repository that it was cloned from, or download the file."
        )
