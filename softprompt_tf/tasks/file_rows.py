"""Read rows from a file of lines, JSON, CSV, TSV or Parquet, each with its line."""

import csv
import gzip
import json
import lzma
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from io import BufferedReader
from pathlib import Path

from softprompt_tf.errors import DataError
from softprompt_tf.shown_numbers import counted
from softprompt_tf.tasks.missing_field import separator_hint
from softprompt_tf.tasks.parquet_source import parquet_rows
from softprompt_tf.tasks.rows import Row


def file_rows(path: Path, suffix: str, columns: Sequence[str] | None) -> Iterator[Row]:
    """Return the rows of a file one by one.

    Args:
      path: of a file that exists.
      suffix: one of `SOURCE_SUFFIXES`; what `path` ends in, or has in front of `.gz` or `.xz`.
      columns: as in `read_rows`.

    Raises:
      DataError: while rows are read, if the file is damaged or malformed; names file and line.
    """
    if suffix in (".jsonl", ".json-lines"):
        return _json_rows(path)
    if suffix == ".json":
        return _document_rows(path)
    if suffix == ".txt":
        return _text_rows(path, columns)
    if suffix == ".parquet":
        return parquet_rows(path)
    records = _csv_records(path) if suffix == ".csv" else _tsv_records(path)
    return _table_rows(path, records, columns)


def _text_rows(path: Path, columns: Sequence[str] | None) -> Iterator[Row]:
    if columns and len(columns) > 1:
        raise DataError(f"{path}: a .txt file has one column. Received: columns {', '.join(columns)}.")
    name = columns[0] if columns else "text"
    for number, line in _lines(path):
        text = line.rstrip("\r\n")
        if text.strip():
            yield Row({name: text}, f"{path}:{number}")


def _json_rows(path: Path) -> Iterator[Row]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{path}:{number}: must be one JSON object. Received: {line.strip()[:80]!r} ({error})."
            ) from None
        if not isinstance(values, dict):
            raise DataError(f"{path}:{number}: must be one JSON object. Received: {line.strip()[:80]!r}.")
        yield Row(values, f"{path}:{number}")


def _document_rows(path: Path) -> Iterator[Row]:
    text = "".join(line for _, line in _lines(path))
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: must be one JSON document. Received: {text[:80]!r} ({error}).") from None
    rows = document.get("data") if isinstance(document, dict) else document
    if not isinstance(rows, list) or not all(isinstance(values, dict) for values in rows):
        raise DataError(
            f"{path}: must be a list of objects, or an object with one under `data`. Received: {text[:80]!r}."
        )
    return (Row(values, f"{path}, object {number}") for number, values in enumerate(rows, start=1))


def _table_rows(path: Path, records: Iterable[tuple[int, list[str]]], columns: Sequence[str] | None) -> Iterator[Row]:
    names = list(columns) if columns else None
    for number, record in records:
        if names is None:
            names = record
            _check_header(f"{path}:{number}", names)
            continue
        if len(record) != len(names):
            quotes = ".csv" in path.suffixes and len(record) > len(names)
            hint = separator_hint(names) or (" Put a text with a comma in double quotes." if quotes else "")
            count = counted(len(names), "column")
            raise DataError(f"{path}:{number}: must have {count} ({', '.join(names)}). Received: {len(record)}.{hint}")
        yield Row(dict(zip(names, record, strict=True)), f"{path}:{number}")


def _check_header(location: str, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{location}: the header must name every column once. Received: `{'`, `'.join(twice)}` twice.")


def _tsv_records(path: Path) -> Iterator[tuple[int, list[str]]]:
    for number, line in _lines(path):
        record = line.rstrip("\r\n")
        if record:
            yield number, record.split("\t")


def _csv_records(path: Path) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(2**31 - 1)  # the module's own limit of 131,072 characters is shorter than many documents
    reader = csv.reader((line for _, line in _lines(path)), strict=True)
    while True:
        number = reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "new-line character" in str(error):
                raise DataError(
                    f"{path}:{number}: a line must end as on Linux or Windows. Received: a carriage return alone. Save the file "
                    "as CSV in UTF-8."
                ) from None
            raise DataError(f"{path}:{number}: malformed CSV record ({error}).") from None
        if record:
            yield number, record


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number, line with its end); a byte order mark is no part of the first line."""
    with closing(_open(path)) as file:
        number = 0
        try:
            for number, line in enumerate(file, start=1):
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}:{number}: must be UTF-8 text ({error.reason} at byte {error.start}). Save the file as UTF-8."
            ) from None
        except (gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError) as error:
            raise DataError(f"{path}: cannot be decompressed after line {number} ({error}).") from None


def _open(path: Path) -> gzip.GzipFile | lzma.LZMAFile | BufferedReader:
    if path.suffix == ".gz":
        return gzip.GzipFile(path, "rb")
    if path.suffix == ".xz":
        return lzma.LZMAFile(path, "rb")
    return path.open("rb")
