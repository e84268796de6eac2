"""The error of a row whose value is no label: which values of all rows are none, so that a file is mended at once."""

from collections import Counter
from collections.abc import Collection, Sequence

from softprompt_tf.errors import DataError
from softprompt_tf.settings.spelling import look_alike
from softprompt_tf.shown_numbers import counted
from softprompt_tf.tasks.rows import Row

_MOST_VALUES = 10
_OTHERS_IN_YAML = frozenset({"true", "false", "null", "~"})  # words that are no text there


def unknown_label(
    value: str, field: str, known: Collection[str], *, task: str, row: Row, rows: Sequence[Row]
) -> DataError:
    """Return the error of an unknown label.

    Args:
      value: the row's.
      field: whose value it is.
      known: the raw values that have labels.
      task: the task's name.
      row: the first such row.
      rows: all rows that were read with it.
    """
    return DataError(
        f"{row.location}: field `{field}` must be one of the labels of task {task}. Received: {value!r}. "
        f"Known: {', '.join(map(repr, known))}.{_others(field, known, rows)}{_advice(value, known)}"
    )


def _others(field: str, known: Collection[str], rows: Sequence[Row]) -> str:
    values = [str(row.values.get(field)) for row in rows]
    unknown = Counter(value for value in values if value not in known)
    if unknown.total() < 2:
        return ""
    told = ", ".join(f"{value!r} in {count}" for value, count in unknown.most_common(_MOST_VALUES))
    if len(unknown) > _MOST_VALUES:
        told += f", and {counted(len(unknown) - _MOST_VALUES, 'more value')}"
    return f" In all, {unknown.total()} of {len(rows)} rows have such values: {told}."


def _advice(value: str, known: Collection[str]) -> str:
    if not value.strip():
        return " Fill the cell, or leave the row out."
    quoted = ", in quotes" if value.casefold() in _OTHERS_IN_YAML else ""
    alike = [each for each in known if each.strip().casefold() == value.strip().casefold()]
    if alike:
        return (
            f" Spaces and capitals count: write {alike[0]!r}, or add {value!r} to `labels`{quoted}, with the same word."
        )
    return f"{look_alike(value, known)} Correct the row, or add the value to `labels`{quoted}."
