"""Notice splits that lack a label, as those of sorted files do, and rows that lack their text."""

import warnings
from collections.abc import Iterator, Mapping, Sequence

from softprompt_tf.tasks.task import Example, Task

_MOST_LABELS = 5


def tell_of_lacking_rows(task: Task, splits: Mapping[str, Sequence[Example]]) -> Iterator[str]:
    """Yield a sentence for each split without rows of a label, and for each with empty texts.

    Args:
      task: the task.
      splits: what rows are called -> the rows; splits without rows are passed over.
    """
    for name, rows in splits.items():
        found = {row.label for row in rows}
        missing = [repr(word) for word in task.label_words if word not in found] if rows else []
        if missing:
            told = [
                *missing[:_MOST_LABELS],
                *([f"and {len(missing) - _MOST_LABELS} more"] if len(missing) > _MOST_LABELS else []),
            ]
            yield (
                f"No {name} row has the label {', '.join(told)}. If the rows of the file are sorted, shuffle them before you "
                "divide them."
            )
    for name, rows in splits.items():
        count = sum(_is_empty(row, task.template.input_fields) for row in rows)
        if count:
            fields = ", ".join(f"`{field}`" for field in task.template.input_fields)
            yield f"{count:,} of {len(rows):,} {name} rows have no text in {fields}. Leave them out."


def warn_of_lacking_rows(task: Task, splits: Mapping[str, Sequence[Example]]) -> None:
    """Warn of what a split lacks; arguments as in `tell_of_lacking_rows`.

    Warns:
      UserWarning: for each sentence.
    """
    for sentence in tell_of_lacking_rows(task, splits):
        warnings.warn(f"Task {task.name}: {sentence}", stacklevel=3)


def _is_empty(row: Example, fields: Sequence[str]) -> bool:
    return bool(fields) and not any(str(row.row.values[field]).strip() for field in fields)
