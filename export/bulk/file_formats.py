"""Tell the format of a file of rows by its name."""

from pathlib import Path
from typing import NamedTuple

from softprompt_tf.errors import ConfigError
from softprompt_tf.export.bulk.choices import FORMATS

_KIND_OF_SUFFIX = {
    ".jsonl": "jsonl",
    ".json-lines": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tfrecord": "tfrecord",
    ".tfrecords": "tfrecord",
}
_PACKED = ".gz"


class FileFormat(NamedTuple):
    """`kind` is one of `FORMATS`; `is_packed` says whether gzip is around it."""

    kind: str
    is_packed: bool


def format_of(path: Path, asked: str | None, *, option: str) -> FileFormat:
    """Return the format of a file.

    Args:
      path: its name decides where nothing is asked for; `.gz` always means gzip.
      asked: one of `FORMATS`, or None.
      option: what messages call the argument that can name the format.

    Raises:
      ConfigError: if the name does not say the format, or another format is asked for.
    """
    is_packed = path.suffix == _PACKED
    suffix = path.with_suffix("").suffix if is_packed else path.suffix
    kind = asked or _KIND_OF_SUFFIX.get(suffix)
    if kind is None or kind not in FORMATS:
        received = f"`{option}` {asked!r}" if asked else f"{path}"
        raise ConfigError(
            f"A file of rows must be one of {', '.join(_KIND_OF_SUFFIX)}, also with {_PACKED}. Received: {received}. "
            f"Name the format with `{option}`: {', '.join(FORMATS)}."
        )
    return FileFormat(kind, is_packed)
