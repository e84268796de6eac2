"""The error of a row without a field that a task reads."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from softprompt_tf.errors import DataError
from softprompt_tf.settings.spelling import look_alike

_SEPARATORS = ";\t,|"


def missing_field(location: str, field: str, values: Mapping[str, Any]) -> DataError:
    """Return the error of a missing field: the fields that the row has, and what was probably meant.

    Args:
      location: the row's place, such as "train.csv:2".
      field: the name that the row does not have.
      values: the row, by field.
    """
    known = [str(name) for name in values]
    return DataError(
        f"{location}: the row has no field `{field}`. Its fields: {', '.join(known)}.{_hint(field, known)}"
    )


def separator_hint(columns: Sequence[str]) -> str:
    """Return " The columns seem to be separated by ..." where the only column's name has a separator in it, else ""."""
    separators = [character for character in _SEPARATORS if len(columns) == 1 and character in columns[0]]
    if not separators:
        return ""
    found = {"\t": "tabs"}.get(separators[0], f"`{separators[0]}`")
    return f" The columns seem to be separated by {found}: a .csv file needs commas, a .tsv file needs tabs."


def _hint(field: str, known: list[str]) -> str:
    if separated := separator_hint(known):
        return separated
    if alike := look_alike(field, known):
        return alike
    close = difflib.get_close_matches(field, known, n=1)
    return f" Did you mean `{close[0]}`?" if close else ""
