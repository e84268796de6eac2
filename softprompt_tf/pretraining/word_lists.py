"""Read the word lists in `words/`, which the instruction tasks draw from.

    # A comment has a line of its own.
    [sport]
    athlete athletes ball
    coach

A name in brackets begins a list, which goes on to the next name. Blank lines mean nothing.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from softprompt_tf.errors import DataError

WORDS = Path(__file__).with_name("words")

_NAME = re.compile(r"\[\s*([^\[\]]*[^\[\]\s])\s*\]")

WordLists = dict[str, tuple[str, ...]]


def word_lists(path: Path) -> WordLists:
    """Return a file's lists by their names, in the file's order; words are parted by blanks.

    Raises:
      DataError: if the file cannot be read or a line is broken; the message says which line, and why.
    """
    return _lists(path, str.split)


def line_lists(path: Path) -> WordLists:
    """Return a file's lists as `word_lists` does, with one entry for each line.

    Raises:
      DataError: as `word_lists`.
    """
    return _lists(path, lambda line: [line])


def _lists(path: Path, entries_of: Callable[[str], Sequence[str]]) -> WordLists:
    lists: dict[str, list[str]] = {}
    name = None
    for number, line in enumerate(_lines(path), start=1):
        if not line or line.startswith("#"):
            continue
        place = f"{line[:80]!r} in {path}:{number}"
        if " #" in line:
            _refuse("A comment must have a line of its own", place)
        if line.startswith("["):
            name = _new_name(line, lists, place)
        elif name is None:
            _refuse("The name of a list, such as [sport], must stand above its words", place)
        else:
            _extend(lists[name], entries_of(line), place)
    empty = [name for name, entries in lists.items() if not entries]
    if empty or not lists:
        what = f"[{empty[0]}] without words" if empty else "no list"
        _refuse("A file of word lists must have a list, and every list a word", f"{what} in {path}")
    return {name: tuple(entries) for name, entries in lists.items()}


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"A file of word lists must be a readable UTF-8 text. Received: {path}: {error}.") from error


def _new_name(line: str, lists: dict[str, list[str]], place: str) -> str:
    """Begin the list that a line names, and return its name."""
    match = _NAME.fullmatch(line)
    if match is None:
        _refuse("The name of a list must stand alone in its line, in brackets, such as [sport]", place)
    if match[1] in lists:
        _refuse("Every list must have a name of its own", place)
    lists[match[1]] = []
    return match[1]


def _extend(entries: list[str], more: Sequence[str], place: str) -> None:
    for entry in more:
        if entry in entries:
            _refuse(f"A word must stand once in its list, or it is drawn twice as often: {entry!r}", place)
        entries.append(entry)


def _refuse(rule: str, received: str) -> NoReturn:
    raise DataError(f"{rule}. Received: {received}.")
