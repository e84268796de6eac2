"""Read the rows of a Parquet file, as Hugging Face and pandas write them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from softprompt_tf.errors import DataError, first_line
from softprompt_tf.tasks.rows import Row, text_of

_ROWS_PER_READ = 1_000


def parquet_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file as plain Python values; binary values are decoded as UTF-8.

    Raises:
      DataError: if the file is no whole Parquet file, or a binary value is no text.
    """
    import pyarrow  # slow to import, and needed for these sources alone
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS_PER_READ):
                for values in batch.to_pylist():
                    number += 1
                    location = f"{path}, row {number}"
                    yield Row({name: _plain(value, name, location) for name, value in values.items()}, location)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: must be a whole Parquet file. Received: {first_line(error)}.") from error


def _plain(value: Any, field: str, location: str) -> Any:
    if isinstance(value, list):
        return [_plain(each, field, location) for each in value]
    if isinstance(value, dict):
        return {name: _plain(each, f"{field}.{name}", location) for name, each in value.items()}
    return text_of(value, field, location) if isinstance(value, bytes) else value
