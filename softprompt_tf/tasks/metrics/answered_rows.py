"""What a metric looks at: rows with their right answers and with what was written, and which of them belong together."""

import unicodedata
from collections.abc import Hashable
from dataclasses import dataclass

from softprompt_tf.errors import DataError
from softprompt_tf.shown_numbers import counted


@dataclass(frozen=True)
class AnsweredRows:
    """N answered rows.

    Args:
      references: N non-empty tuples, all right answers of each row; the first is the target.
      predictions: N texts that were written, postprocessed.
      labels: the task's label words in label order, () for free text.
      groups: N keys, equal for rows that belong to one question; () where every row is a question.

    Raises:
      DataError: if there are no rows, not equally many of each, or a row without a right answer.
    """

    references: tuple[tuple[str, ...], ...]
    predictions: tuple[str, ...]
    labels: tuple[str, ...] = ()
    groups: tuple[Hashable, ...] = ()

    def __post_init__(self) -> None:
        if len(self.references) != len(self.predictions) or not self.references:
            raise DataError(
                "Metrics need as many predictions as targets, and at least one. "
                f"Received: {counted(len(self.predictions), 'prediction')}, {counted(len(self.references), 'target')}."
            )
        if self.groups and len(self.groups) != len(self.predictions):
            raise DataError(
                "Metrics need a group for every row, or for none. "
                f"Received: {counted(len(self.groups), 'group')}, {counted(len(self.predictions), 'row')}."
            )
        if not all(self.references):
            number = next(number for number, answers in enumerate(self.references, start=1) if not answers)
            raise DataError(f"Every row needs a right answer. Received: none for row {number}.")

    @property
    def targets(self) -> list[str]:
        """The first right answer of each row."""
        return [answers[0] for answers in self.references]

    def is_right(self) -> list[bool]:
        """Say of each row whether its prediction is one of its right answers; of free text, in the form that `plain_form` gives."""
        form = str if self.labels else plain_form
        pairs = zip(self.references, self.predictions, strict=True)
        return [form(text) in map(form, answers) for answers, text in pairs]

    def members(self) -> dict[Hashable, list[int]]:
        """Return the row numbers of each group, in order; a row without a group is one by itself."""
        members: dict[Hashable, list[int]] = {}
        for number, group in enumerate(self.groups or range(len(self.predictions))):
            members.setdefault(group, []).append(number)
        return members


def plain_form(text: str) -> str:
    """Return a text in the one form that T5 can write: Unicode's NFKC, and one space between words.

    T5's tokenizer reads other spellings of a text, such as an accent that is a character of its own, as this one.
    """
    return " ".join(unicodedata.normalize("NFKC", text).split())
