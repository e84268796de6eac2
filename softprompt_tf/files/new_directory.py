"""Write a new directory completely or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from softprompt_tf.errors import SoftPromptError
from softprompt_tf.files.atomic_file import short_name
from softprompt_tf.files.local_paths import local_target


@contextmanager
def new_directory(path: str | Path, *, error_type: type[SoftPromptError]) -> Iterator[Path]:
    """Give an empty directory to write into, which has the name `path` at the end of the block; after an error it is removed.

    Raises:
      error_type: if the path is remote or exists, or cannot be written.
    """
    path = local_target(path, error_type=error_type)
    if path.exists():
        raise error_type(
            f"The directory to write must be a new one. Received: {path}, which exists. Choose another name."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{short_name(path.name)}.", dir=path.parent))
        try:
            yield staging
            staging.chmod(0o777 & ~_umask())
            os.rename(staging, path)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise error_type(f"The directory {path} cannot be written. Received: {error}.") from error


def _umask() -> int:
    """Return the process's mask of new files' modes, which `mkdtemp` does not follow."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
