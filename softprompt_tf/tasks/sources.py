"""Read rows from a file, a TFDS data set, a `tf.data.Dataset` or a list, each with the place that it comes from."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.files.local_paths import scheme_of
from softprompt_tf.settings.config_files import SOURCE_SUFFIXES
from softprompt_tf.settings.spelling import nearest_file
from softprompt_tf.tasks.file_rows import file_rows
from softprompt_tf.tasks.rows import Row
from softprompt_tf.tasks.tensorflow_sources import dataset_rows, tfds_rows

Source = str | Path | Sequence[Mapping[str, object]] | Any  # Any: a tf.data.Dataset, which is not imported for its name

# Of files that people have data in, and that this library does not read.
_FOREIGN_SUFFIXES = (
    *(
        ".arrow",
        ".feather",
        ".orc",
        ".avro",
        ".xls",
        ".xlsx",
        ".ods",
        ".pkl",
        ".pickle",
        ".npy",
        ".npz",
        ".h5",
        ".hdf5",
    ),
    *(
        ".tfrecord",
        ".tfrecords",
        ".zip",
        ".tar",
        ".tgz",
        ".gz",
        ".xz",
        ".bz2",
        ".zst",
        ".yaml",
        ".yml",
        ".xml",
        ".html",
    ),
    *(".md", ".doc", ".docx", ".pdf", ".db", ".sqlite", ".pt", ".safetensors", ".log", ".text"),
)

_SLICE = re.compile(r"(?P<name>.+)\[(?P<start>\d*):(?P<stop>\d*)\]")


def read_rows(
    source: Source, *, split: str | None = None, limit: int | None = None, columns: Sequence[str] | None = None
) -> list[Row]:
    """Read the rows of a source, in its order.

    Args:
      source: one of
        a file: `.jsonl` / `.json-lines` (one object per line), `.json` (a list of objects, or an object with such a list
          under `data`, as in the SQuAD files), `.csv` (quoted fields), `.tsv` (a tab always ends a field and quotes are
          plain characters, as in the GLUE files), `.txt` (each line is a row with the one field `text`), each also with `.gz`
          or `.xz` after it; blank lines are skipped; or `.parquet`;
          `train.tsv[:9000]` takes the first 9,000 rows and `train.tsv[9000:]` the others;
        a TFDS name: `super_glue/boolq`, or `ag_news_subset@test` to name the split itself, slices included
          (`@train[:90%]`); class numbers become their names;
        a `tf.data.Dataset` of unbatched dictionaries; bytes are decoded as UTF-8;
        a sequence of mappings.
      split: the split of a TFDS name without `@`; other sources do not look at it.
      limit: at most this many rows; None for all.
      columns: the names of the columns of a `.csv` or `.tsv` file without a header line; of a `.txt` file, one name.

    Raises:
      DataError: if the source is missing, damaged, empty or malformed; names file and line.

    Examples:
      >>> from softprompt_tf.tasks import read_rows
      >>> rows = read_rows("train.csv")
      >>> rows[0].values["text"]
      'a charming film'
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"`limit` must be a whole number above 0. Received: {limit}.")
    rows = list(islice(iterate_rows(source, split=split, columns=columns), limit))
    if not rows:
        raise DataError(f"{source_name(source)}: holds no rows.")
    return rows


def iterate_rows(source: Source, *, split: str | None = None, columns: Sequence[str] | None = None) -> Iterator[Row]:
    """Return the rows of a source one by one, in its order; see `read_rows`, which also refuses an empty source."""
    if isinstance(source, str | Path):
        return _named_rows(str(source), split, columns)
    if hasattr(source, "as_numpy_iterator"):
        return dataset_rows(source)
    if isinstance(source, Sequence):
        return _memory_rows(source)
    raise DataError(
        "A source must be a file, a TFDS name, a tf.data.Dataset or a sequence of mappings. "
        f"Received: {type(source).__name__}."
    )


def _named_rows(name: str, split: str | None, columns: Sequence[str] | None) -> Iterator[Row]:
    if scheme_of(name):
        raise DataError(f"A source must be a local file or a TFDS name. Received: {name}. Fetch it first.")
    sliced = _SLICE.fullmatch(name)
    path = Path(sliced["name"] if sliced and "@" not in name else name)
    is_packed = path.suffix in (".gz", ".xz")
    suffix = path.with_suffix("").suffix if is_packed else path.suffix
    if path.is_dir():
        raise DataError(f"{path}: a source must be a file. Received: a directory.")
    if suffix in SOURCE_SUFFIXES and not (is_packed and suffix == ".parquet"):
        if not path.exists():
            raise DataError(f"No such file: {path}.{nearest_file(path)}")
        rows = file_rows(path, suffix, columns)
        return (
            rows
            if not sliced
            else islice(rows, int(sliced["start"] or 0), int(sliced["stop"]) if sliced["stop"] else None)
        )
    if path.exists() or path.is_absolute() or _is_file_name(path):
        raise DataError(
            f"{path}: a file must be one of {', '.join(SOURCE_SUFFIXES)}, also with .gz or .xz (.parquet without)."
        )
    return tfds_rows(name, split=split)


def _memory_rows(rows: Sequence[Any]) -> Iterator[Row]:
    for number, values in enumerate(rows, start=1):
        if not isinstance(values, Mapping):
            raise DataError(f"row {number}: must be a mapping of fields. Received: {type(values).__name__}.")
        yield Row(values, f"row {number}")


def _is_file_name(path: Path) -> bool:
    """Say whether a name cannot be that of a TFDS data set: NAME[:VERSION], NAME/CONFIG or NAME/KEY=VALUE, no dot in NAME."""
    first = (path.parts or ("",))[0].partition(":")[0]
    is_deep = len(path.parts) > 2 and "=" not in path.name
    return is_deep or "." in first or path.suffix.lower() in _FOREIGN_SUFFIXES


def source_file(source: Source) -> Path | None:
    """Return the file that a source names, without its slice; None for a TFDS name and for rows in memory."""
    if not isinstance(source, str | Path):
        return None
    sliced = _SLICE.fullmatch(str(source))
    path = Path(sliced["name"] if sliced and "@" not in str(source) else str(source))
    return path if path.is_absolute() or path.exists() else None


def source_name(source: Source) -> str:
    """Return what to call a source in messages."""
    return str(source) if isinstance(source, str | Path) else "The source in memory"
