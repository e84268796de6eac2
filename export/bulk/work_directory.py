"""The directory of an unfinished job: its plan, and the finished parts, each written completely or not at all.

plan.json            what the job is: export, input, settings and output, by their digests
part-00000000.rows   answered rows of chunk 0, in the output's format; it is there when the chunk is finished
part-00000000.bad    its bad rows, where it has some; written before
input-00000          the unpacked copy of a packed input
"""

import contextlib
import filecmp
import gzip
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.files.atomic_file import whole_file, write_atomically
from softprompt_tf.files.directory_lock import LOCK_FILE

_PLAN = "plan.json"
_OWN = re.compile(r"plan\.json|part-\d+\.(rows|bad)|input-\d+|assembled(\.bad)?|(stop|failure)-.+|\..+")
_PART_NAMES = ("export", "input", "settings", "output")


class WorkDirectory:
    """The work directory of one output.

    Args:
      path: the directory.
    """

    def __init__(self, path: Path):
        self.path = path

    def check_own(self) -> None:
        """Refuse a directory that holds something else.

        Raises:
          ConfigError: with the name of a file.
        """
        foreign = sorted(entry.name for entry in self.path.iterdir() if not _OWN.fullmatch(entry.name))
        if foreign:
            raise ConfigError(
                f"{self.path} is the work directory of a job. Received: it holds {foreign[0]}. Name another output."
            )

    def has_plan(self) -> bool:
        """Return whether a job was begun here."""
        return (self.path / _PLAN).is_file()

    def begin(self, plan: Mapping[str, Any]) -> None:
        """Keep the plan of a new job."""
        write_atomically(self.path / _PLAN, json.dumps(plan, indent=2).encode(), error_type=DataError)

    def check_plan(self, plan: Mapping[str, Any]) -> None:
        """Refuse to go on with another job than the one that was begun.

        Raises:
          ConfigError: with what differs.
        """
        try:
            begun = json.loads((self.path / _PLAN).read_text(encoding="utf-8"))
            names = [name for name in _PART_NAMES if begun[name] != plan[name]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"The plan of a job must be readable. Received: {self.path / _PLAN}: {error}.") from error
        if names:
            name = names[0]
            give = "Give what was given before"
            version = begun["export"].get("version") if isinstance(begun["export"], dict) else None
            if name == "export" and version not in (None, plan["export"]["version"]):  # tasks were added meanwhile
                give = f"Name version {version} itself, such as exports/t5/{version}"
            raise ConfigError(
                f"A job that was stopped goes on with the same export, input and settings. Received: another {name}: "
                f"{_difference(begun[name], plan[name])}. {give}, or begin again with --force. "
                f"The answers that there are stay in {self.path}."
            )

    def forget(self) -> None:
        """Remove the plan and the parts of an earlier job; the plan last, so that no part is without one."""
        parts = [entry for entry in self.path.iterdir() if entry.name.startswith("part-")]
        for entry in [*parts, self.path / _PLAN]:
            entry.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove all files but the lock."""
        for entry in self.path.iterdir():
            if entry.name != LOCK_FILE and entry.is_file():
                entry.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the directory with all that is in it; parts without a plan count for nothing."""
        (self.path / _PLAN).unlink()
        shutil.rmtree(self.path, ignore_errors=True)

    def write_part(self, number: int, *, rows: bytes, bad: bytes) -> None:
        """Write what a chunk brought; it is finished with its rows."""
        if bad:
            write_atomically(self._part(number, "bad"), bad, error_type=DataError)
        else:
            self._part(number, "bad").unlink(missing_ok=True)
        write_atomically(self._part(number, "rows"), rows, error_type=DataError)

    def finished(self) -> set[int]:
        """Return the numbers of the chunks that are finished."""
        names = [entry.name for entry in self.path.iterdir()]
        return {int(name[5:-5]) for name in names if name.startswith("part-") and name.endswith(".rows")}

    def assemble(self, num_chunks: int, *, header: bytes, is_packed: bool) -> tuple[Path, Path, int]:
        """Put all parts together; return the file of rows, the file of bad rows, and how many these are.

        Raises:
          DataError: if there is no room for them; the parts stay.
        """
        try:
            return self._assemble(num_chunks, header=header, is_packed=is_packed)
        except OSError as error:
            raise DataError(
                f"The answers in {self.path} must fit on the disk a second time, as one file. Received: {error.strerror or error}. "
                "They stay there. Make room, then run the same command again."
            ) from error

    def _assemble(self, num_chunks: int, *, header: bytes, is_packed: bool) -> tuple[Path, Path, int]:
        rows, bad = self.path / "assembled", self.path / "assembled.bad"
        with whole_file(rows) as file, _packed(file) if is_packed else contextlib.nullcontext(file) as target:
            target.write(header)
            for number in range(num_chunks):
                _append(self._part(number, "rows"), target)
        count = 0
        with whole_file(bad) as file:
            for number in range(num_chunks):
                part = self._part(number, "bad")
                if part.is_file():
                    content = part.read_bytes()
                    count += content.count(b"\n")
                    file.write(content)
        return rows, bad, count

    def _part(self, number: int, kind: str) -> Path:
        return self.path / f"part-{number:08d}.{kind}"


def put(source: Path, target: Path, *, replace: bool) -> None:
    """Move a file to its final place. Where that is a symbolic link, the file that it leads to is written, and the link stays.

    Raises:
      ConfigError: if another file is there, and is not to be replaced.
      DataError: if it cannot be written.
    """
    if not replace and target.exists() and not (target.is_file() and filecmp.cmp(source, target, shallow=False)):
        raise ConfigError(not_overwritten(target))
    try:
        if not target.is_symlink():
            os.replace(source, target)
            return
        with whole_file(target) as file:  # it may lead to another disk
            _append(source, file)
    except OSError as error:
        raise DataError(
            f"The answers in {source.parent} cannot be put at {target}: {error.strerror or error}."
        ) from error


def not_overwritten(path: Path) -> str:
    """Return the message of an output that is there already."""
    return f"An output that exists is not overwritten. Received: {path}. Name another output, or pass --force."


def _append(part: Path, target: Any) -> None:
    with part.open("rb") as source:
        shutil.copyfileobj(source, target, 1 << 20)


def _packed(file: BinaryIO) -> gzip.GzipFile:
    return gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0)  # without a time: equal rows, equal bytes


def _difference(begun: Any, given: Any) -> str:
    if not (isinstance(begun, dict) and isinstance(given, dict)):
        return f"{given}, and not {begun}"
    names = [name for name in dict.fromkeys([*begun, *given]) if begun.get(name) != given.get(name)]
    parts = [f"{name} {_brief(given.get(name))}, and not {_brief(begun.get(name))}" for name in names]
    return "; ".join(parts)


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
