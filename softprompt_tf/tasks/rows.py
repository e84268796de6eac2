"""One row of data, with the file and line that it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass

from softprompt_tf.errors import DataError


@dataclass(frozen=True)
class Row:
    """One row of a source.

    Args:
      values: field name -> value, as the source holds it.
      location: where the row stands, such as "data/train.tsv:17" (lines count from 1, the header is line 1) or "row 3"
        (rows in memory count from 1).
    """

    values: Mapping[str, object]
    location: str


def text_of(value: bytes, field: str, location: str) -> str:
    """Return the text of a field that a source holds as bytes.

    Raises:
      DataError: if it is no UTF-8.
    """
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{location}: field `{field}` must be UTF-8 text ({error.reason} at byte {error.start})."
        ) from None
