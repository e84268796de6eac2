"""Make one training row per right answer."""

from collections.abc import Iterator

from softprompt_tf.tasks.preprocessors.fields import texts
from softprompt_tf.tasks.rows import Row


def one_row_per_answer(row: Row) -> Iterator[Row]:
    """Yield the row once per text of `answers`, with that text as `answer`; without answers, none.

    Raises:
      DataError: if `answers` is no list of texts.
    """
    for answer in texts(row.values.get("answers"), "answers", row.location):
        yield Row({**row.values, "answer": answer}, row.location)
