"""Which entries of a base directory a model server takes for versions, and which number comes next; without TensorFlow."""

import numbers
import re
from pathlib import Path

from softprompt_tf.errors import ExportError

MAX_VERSION = 2**63 - 1
_VERSION_NAME = re.compile(r"\s*[+-]?[0-9]+\s*", re.ASCII)
_LONGEST_NAME = 255  # of an entry in any file system; and Python reads no number of more than 4,300 digits


def parse_version(name: str) -> int | None:
    """Return the version that a server takes an entry of a base directory for; None where it passes it over.

    A sign, leading zeros and blanks are let through, and whether the entry is a directory is not looked at.

    Source: tensorflow/serving sources/storage_path/file_system_storage_path_source.cc; absl `SimpleAtoi`.
    """
    if _VERSION_NAME.fullmatch(name) is None or len(name) > _LONGEST_NAME:
        return None
    number = int(name)
    return number if 0 <= number <= MAX_VERSION else None


def find_versions(base: Path) -> dict[int, Path]:
    """Return what a server takes for versions of a model by their number; none where `base` is missing.

    Of two names for one number, such as 007 and 7, the last in the order of names counts, as in TF Serving. A file whose name
    is a number is among them too; it does not load.

    Source: `IndexChildrenByVersion`, in the file that `parse_version` names.
    """
    entries = sorted(base.iterdir()) if base.is_dir() else []
    found = [(parse_version(entry.name), entry) for entry in entries]
    return {number: entry for number, entry in found if number is not None}


def next_version(base: Path) -> int:
    """Return one more than the highest version that a server would see, 1 where there is none.

    Raises:
      ExportError: if there is no higher one.
    """
    highest = max(find_versions(base), default=0)
    if highest == MAX_VERSION:
        raise ExportError(
            f"No server looks at versions above {MAX_VERSION}. Received: {base}, which has that one. Rename or remove it."
        )
    return highest + 1


def check_version(base: Path, version: int | None) -> None:
    """Refuse a version's number that is not free, or below one that is taken; None, for the next one, always fits.

    A server serves the newest version unless it is told otherwise, and a change of tasks is made from that one. So what is written
    below it would be asked by nobody, and its tasks would be lost with the next change.

    Raises:
      ExportError: if the version is no whole number, negative, exists, or is below the newest.
    """
    if version is None:
        return
    is_whole = isinstance(version, numbers.Integral) and not isinstance(version, bool)
    if not is_whole or not 0 <= version <= MAX_VERSION:
        raise ExportError(
            f"`version` must be from 0 to {MAX_VERSION}. Received: version={version!r}. No server looks at others."
        )
    versions = find_versions(base)
    target = versions.get(version, base / str(version))
    if target.exists():
        raise ExportError(f"A version that exists is never overwritten. Received: {target}. Leave `version` out.")
    newest = max(versions, default=-1)
    if version < newest:
        raise ExportError(
            f"A new version must have a higher number than the newest, {newest} in {base}: servers serve that one unless they are "
            f"told otherwise, and the next change starts from it. Received: version={version}. Leave `version` out, or give a "
            f"number above {newest}: a server whose config names its versions loads the new one only once it is named there. To "
            "serve this number, write to another directory, for a model of its own."
        )
