"""Refuse to begin work in a directory that has files of other work under the names that it writes."""

from collections.abc import Iterable
from pathlib import Path

from softprompt_tf.errors import SoftPromptError


def check_no_others(directory: Path, names: Iterable[str], *, error_type: type[SoftPromptError]) -> None:
    """Check that nothing stands where new work writes.

    Args:
      directory: of the work.
      names: of the files and folders in it that the work writes over, or removes.
      error_type: what is raised.

    Raises:
      error_type: for the first one that is there.
    """
    for name in names:
        if (directory / name).exists():
            raise error_type(
                f"What is begun anew must not write over other work. Received: {directory / name}, which exists. Choose another "
                "output directory, or move it away."
            )
