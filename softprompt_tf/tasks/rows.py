"""One row of data, with the file and line that it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass


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
