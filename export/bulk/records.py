"""Cut the bytes of a file into records, so that a damaged record does not take its neighbours with it.

A record knows its place, and the same bytes always give the same records. So a worker that reads a part of a file finds what
was found when the file was cut into chunks.
"""

import csv
import struct
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

import google_crc32c

from softprompt_tf.errors import DataError
from softprompt_tf.shown_numbers import counted

_BOM = b"\xef\xbb\xbf"
_LONGEST_CSV_RECORD = 1 << 24  # bytes; where an open quote is not closed within them, its line is bad
_MASK_DELTA = 0xA282EAD8  # tensorflow/tensorflow:tensorflow/core/lib/hash/crc32c.h
_FRAME_BYTES = 16


class Record(NamedTuple):
    """One record of a file.

    Args:
      start: its first byte.
      line: its line, from 1; of a TFRecord file, its number.
      content: its bytes, those of its frame left out.
      values: of a CSV record, its columns.
      problem: what is wrong with it; "" for a good one.
    """

    start: int
    line: int
    content: bytes
    values: Sequence[str] = ()
    problem: str = ""


def json_records(file: BinaryIO, *, start: int = 0, line: int = 1) -> Iterator[Record]:
    """Yield the lines that are not blank.

    Args:
      file: opened at its first byte that counts.
      start: where in the complete file that is.
      line: the number of that line.
    """
    for number, content in enumerate(file, start=line):
        stripped = (content.removeprefix(_BOM) if start == 0 else content).strip()
        if stripped:
            yield Record(start, number, stripped)
        start += len(content)


def csv_records(file: BinaryIO, columns: Sequence[str] | None, *, start: int = 0, line: int = 1) -> Iterator[Record]:
    """Yield CSV records; one with quotes may have several lines.

    Where such a record is malformed or has another number of columns, its first line alone is bad: a stray quote must not
    take the following lines with it.

    Args:
      file, start, line: as in `json_records`.
      columns: their names; None for a header, of which nothing is known.
    """
    csv.field_size_limit(2**31 - 1)  # the module's own limit is shorter than many documents
    lines = _Lines(file)
    while lines.peek():
        record, count = _csv_record(lines, columns, is_first=start == 0)
        used = lines.take(count)
        if record.values or record.problem:
            yield record._replace(start=start, line=line, content=b"".join(used))
        start += sum(map(len, used))
        line += len(used)


def tfrecords(file: BinaryIO, name: str, *, start: int = 0, line: int = 1) -> Iterator[Record]:
    """Yield the records of a TFRecord file; one with damaged bytes is bad.

    Args:
      name: of the file, for messages.
      file, start, line: as in `json_records`.

    Raises:
      DataError: if the file ends within a record or a length is damaged, as nothing after it can be found.
    """
    cut_off = "{}: the file ends within record {}. Copy or write the file again."
    while head := file.read(12):
        if len(head) < 12:
            raise DataError(cut_off.format(name, line))
        if _masked_checksum(head[:8]) != head[8:]:
            raise DataError(f"{name}: the length of record {line} is damaged. Copy or write the file again.")
        length = struct.unpack("<Q", head[:8])[0]
        body = file.read(length + 4)
        if len(body) < length + 4:
            raise DataError(cut_off.format(name, line))
        is_whole = _masked_checksum(body[:-4]) == body[-4:]
        problem = "" if is_whole else "The bytes of a record must fit its checksum."
        yield Record(start, line, body[:-4], problem=problem)
        start += length + _FRAME_BYTES
        line += 1


def framed(content: bytes) -> bytes:
    """Return a record as it stands in a TFRecord file."""
    length = struct.pack("<Q", len(content))
    return b"".join([length, _masked_checksum(length), content, _masked_checksum(content)])


def _masked_checksum(content: bytes) -> bytes:
    checksum = int(google_crc32c.value(content))
    return struct.pack("<I", (((checksum >> 15) | (checksum << 17)) + _MASK_DELTA) & 0xFFFFFFFF)


class _Lines:
    """Lines of a file, of which some can be looked at before they are taken."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._ahead: list[bytes] = []

    def peek(self, index: int = 0) -> bytes:
        """Return the line `index` lines ahead, b"" behind the last one."""
        while len(self._ahead) <= index:
            line = self._file.readline()
            if not line:
                return b""
            self._ahead.append(line)
        return self._ahead[index]

    def take(self, count: int) -> list[bytes]:
        """Return the next lines and go on behind them."""
        taken, self._ahead = self._ahead[:count], self._ahead[count:]
        return taken


def _csv_record(lines: _Lines, columns: Sequence[str] | None, *, is_first: bool) -> tuple[Record, int]:
    """Return the next record, its place left out, and how many lines it has; a blank line has no values."""
    count = num_bytes = 0

    def texts() -> Iterator[str]:
        nonlocal count, num_bytes
        while line := lines.peek(count):
            num_bytes += len(line)
            if num_bytes > _LONGEST_CSV_RECORD and count:
                raise csv.Error(f"a quoted field of more than {_LONGEST_CSV_RECORD:,} bytes")
            raw = line.removeprefix(_BOM) if is_first and not count else line
            count += 1
            yield raw.decode("utf-8", "surrogateescape")

    try:
        values = next(csv.reader(texts(), strict=True), [])
    except csv.Error:
        # Not what the module says: that depends on the lines that follow, which a chunk may not have.
        line = lines.peek().decode("utf-8", "replace").strip()
        return Record(
            0, 0, b"", problem=f"Must be a well-formed CSV record. Received: {line[:80]!r}. Check its quotes."
        ), 1
    if values and columns is not None and len(values) != len(columns):
        problem = f"Must have {counted(len(columns), 'column')} ({', '.join(columns)}). Received: {len(values)}."
        return Record(0, 0, b"", problem=problem), 1
    return Record(0, 0, b"", values), count
