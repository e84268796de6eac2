"""Names that hold on every machine: without this one's directories in files that travel, and of files that are named by tasks."""

import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import quote

from softprompt_tf.files.atomic_file import short_name

_PATH_KEYS = frozenset(
    {"backbone", "train", "validation", "test", "output_dir", "init", "language", "sources", "distill_from"}
)  # of a run's config
_SLICE = re.compile(r"\[\d*:\d*\]$")
_FILE_PREFIX = "file:"
_REFUSED = frozenset('/\\:*?"<>|%')  # of names of files, by Windows; and what begins an encoded character


def file_names(names: Iterable[str]) -> dict[str, str]:
    """Return name -> a file's name without ending, each another one also where a file system does not look at the case.

    Letters of any script stay. What some file system refuses or what cannot be seen, such as a slash or a control character, is
    percent-encoded.

    Args:
      names: such as task ids; where two come to the same file, the later one has a number behind it.
    """
    files: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        file, number = short_name("".join(map(_portable_character, name))), 1
        while _as_compared(found := file if number == 1 else f"{file}-{number}") in taken:
            number += 1
        taken.add(_as_compared(found))
        files[name] = found
    return files


def _portable_character(character: str) -> str:
    is_visible = character == " " or unicodedata.category(character)[0] not in "CZ"
    return character if is_visible and character not in _REFUSED else quote(character, safe="")


def _as_compared(name: str) -> str:
    """Return a file's name as file systems compare it that tell neither capitals nor the two spellings of an accent apart."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def own_name(text: str) -> str:
    """Return the file's own name of an absolute path, and any other text as it is.

    Args:
      text: such as "/data/train.tsv[:100]", "file:/data/start.npy", "C:\\data\\train.tsv", or no path at all.
    """
    if text.startswith(_FILE_PREFIX):
        return _FILE_PREFIX + own_name(text.removeprefix(_FILE_PREFIX))
    if PurePosixPath(text).is_absolute():
        return PurePosixPath(text).name
    if PureWindowsPath(text).is_absolute():
        return PureWindowsPath(text).name
    return text


def portable(value: Any, *, key: str = "") -> Any:
    """Return a JSON value, such as a run's config, with `own_name` of each path in it.

    A text is taken for a path under a key that stands for one, and anywhere else where it is absolute and exists: a
    template may begin with a slash too.

    Args:
      value: dictionaries, lists, texts, numbers; not changed.
      key: the key under which it stands.
    """
    if isinstance(value, Mapping):
        # Teachers may be given by task: each is a path, whatever the task is called.
        return {name: portable(item, key=key if key == "distill_from" else str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [portable(item, key=key) for item in value]
    if isinstance(value, str) and (key in _PATH_KEYS or _exists(value)):
        return own_name(value)
    return value


def _exists(text: str) -> bool:
    path = _SLICE.sub("", text.removeprefix(_FILE_PREFIX))
    return "\0" not in path and os.path.isabs(path) and os.path.lexists(path)
