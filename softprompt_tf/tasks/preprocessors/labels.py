"""Keep the rows whose label says that they are true."""

from collections.abc import Iterator

from softprompt_tf.tasks.rows import Row
from softprompt_tf.tasks.template import field_text

_TRUE = ("True", "true", "1")


def true_rows(row: Row) -> Iterator[Row]:
    """Yield the row if its `label` is true, as a boolean, a number or a text.

    Raises:
      DataError: if there is no label.
    """
    if field_text(row, "label") in _TRUE:
        yield row
