"""Cut the input files into chunks of rows: the same files always give the same chunks."""

import glob
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from softprompt_tf.errors import DataError
from softprompt_tf.export.bulk.file_formats import format_of
from softprompt_tf.export.bulk.records import Record, csv_records, json_records, tfrecords
from softprompt_tf.files.atomic_file import whole_file
from softprompt_tf.files.local_paths import local_source
from softprompt_tf.settings.spelling import nearest_file


@dataclass(frozen=True)
class InputFile:
    """One file of rows.

    Args:
      name: the path as it was given, or as the pattern found it.
      path: what is read: the file itself, or for a packed one its unpacked copy.
      kind: its format.
      columns: of a CSV file, the names of its columns.
    """

    name: str
    path: str
    kind: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chunk:
    """Some rows of a file, next to each other.

    Args:
      number: of all chunks, from 0.
      file: that they are in.
      start, size: their bytes in it.
      line: of their first record.
      first_row: its number among the rows of all files, from 1.
      num_rows: how many there are.
      digest: the SHA-256 of these bytes.
    """

    number: int
    file: InputFile
    start: int
    size: int
    line: int
    first_row: int
    num_rows: int
    digest: str

    def records(self) -> list[Record]:
        """Read the rows of the chunk.

        Raises:
          DataError: if the file has changed since it was cut.
        """
        try:
            with open(self.file.path, "rb") as file:
                file.seek(self.start)
                content = file.read(self.size)
        except OSError as error:
            raise DataError(f"{self.file.name} cannot be read: {error}.") from error
        if hashlib.sha256(content).hexdigest() != self.digest:
            raise DataError(f"{self.file.name} must not change while its rows are answered. Received: other bytes.")
        return list(_records(io.BytesIO(content), self.file, start=self.start, line=self.line))


def input_paths(pattern: str | Path) -> list[Path]:
    """Return the file of that name, or the files that fit a pattern, sorted by name.

    Raises:
      DataError: if there is none, it is remote, or one is a directory.
    """
    path = local_source(pattern, error_type=DataError)
    paths = [path] if path.exists() else sorted(map(Path, glob.glob(str(pattern), recursive=True)))
    files = [each for each in paths if not each.is_dir()]
    if path.is_dir():
        raise DataError(f"The input must be a file or a pattern such as rows/*.jsonl. Received: the directory {path}.")
    if not files:
        is_pattern = glob.has_magic(str(pattern))
        raise DataError(
            f"No file fits the pattern {pattern}." if is_pattern else f"No such file: {path}.{nearest_file(path)}"
        )
    return files


def open_inputs(paths: Sequence[Path], asked: str | None, *, unpack_into: Path) -> list[InputFile]:
    """Describe the input files, and unpack those that are packed.

    Args:
      paths: the files.
      asked: their format, or None where their names say it.
      unpack_into: the directory for unpacked copies, each written completely or not at all.

    Raises:
      ConfigError: if the format is not known.
      DataError: if a file cannot be read or unpacked, or the header of a CSV file is malformed.
    """
    files = []
    for number, path in enumerate(paths):
        form = format_of(path, asked, option="--input-format")
        read = _unpacked(path, unpack_into / f"input-{number:05d}") if form.is_packed else path.absolute()
        columns = _columns(path, read) if form.kind == "csv" else ()
        files.append(InputFile(str(path), str(read), form.kind, columns))
    return files


def cut(files: Sequence[InputFile], *, chunk_rows: int) -> Iterator[tuple[Chunk, list[Record]]]:
    """Yield the chunks of all files in their order, each of at most `chunk_rows` rows of one file, with its records.

    Raises:
      DataError: if a file cannot be read, or is damaged so that the rows after some place cannot be found.
    """
    number, row = 0, 1
    for file in files:
        for chunk, records in _chunks_of(file, chunk_rows, number=number, row=row):
            yield chunk, records
            number, row = chunk.number + 1, row + chunk.num_rows


def _chunks_of(file: InputFile, chunk_rows: int, *, number: int, row: int) -> Iterator[tuple[Chunk, list[Record]]]:
    try:
        with open(file.path, "rb") as content, open(file.path, "rb") as again:
            start, line = _skip_header(content, file)
            records = _records(content, file, start=start, line=line)
            taken = list(islice(records, chunk_rows))
            while taken:
                following = next(records, None)
                end = following.start if following else Path(file.path).stat().st_size
                again.seek(taken[0].start)
                digest = hashlib.sha256(again.read(end - taken[0].start)).hexdigest()
                place = (taken[0].start, end - taken[0].start, taken[0].line)
                yield Chunk(number, file, *place, row, len(taken), digest), taken
                number, row = number + 1, row + len(taken)
                taken = [following, *islice(records, chunk_rows - 1)] if following else []
    except OSError as error:
        raise DataError(f"{file.name} cannot be read: {error}.") from error


def _records(content: BinaryIO, file: InputFile, *, start: int, line: int) -> Iterator[Record]:
    if file.kind == "csv":
        return csv_records(content, file.columns, start=start, line=line)
    if file.kind == "tfrecord":
        return tfrecords(content, file.name, start=start, line=line)
    return json_records(content, start=start, line=line)


def _skip_header(content: BinaryIO, file: InputFile) -> tuple[int, int]:
    """Move behind the header of a CSV file; return where that is, and the line."""
    if file.kind != "csv":
        return 0, 1
    header = next(csv_records(content, None))
    start = header.start + len(header.content)
    content.seek(start)
    return start, header.line + header.content.count(b"\n")


def _columns(name: Path, path: Path) -> tuple[str, ...]:
    try:
        with path.open("rb") as content:
            header = next(csv_records(content, None), None)
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error}.") from error
    if header is None or header.problem:
        raise DataError(
            f"{name}: a CSV file must begin with a header. Received: {header.problem if header else 'no row'}."
        )
    columns = tuple(header.values)
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise DataError(f"{name}: the header must name every column once. Received: `{'`, `'.join(twice)}` twice.")
    if any("\udc80" <= character <= "\udcff" for column in columns for character in column):
        raise DataError(f"{name}: the header must be UTF-8 text.")
    return columns


def _unpacked(path: Path, target: Path) -> Path:
    """Write the unpacked copy of a file anew: a packed file may have changed since."""
    try:
        with gzip.open(path, "rb") as source, whole_file(target) as copy:
            while block := source.read(1 << 20):
                copy.write(block)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path}: cannot be decompressed ({error}).") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read or unpacked: {error}.") from error
    return target.absolute()
