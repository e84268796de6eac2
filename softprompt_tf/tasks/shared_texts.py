"""Notice rows that are scored and also trained on, by their text: their scores say little of new texts."""

import warnings
from collections.abc import Iterator, Mapping, Sequence

from softprompt_tf.tasks.task import Example

MAX_SHARED = 0.01  # of the scored rows; public data sets have a few


def tell_of_shared_texts(train: Sequence[Example], scored: Mapping[str, Sequence[Example]]) -> Iterator[str]:
    """Yield a sentence for each part of the rows that has the texts of training rows.

    Args:
      train: the rows that are trained on.
      scored: what rows are called -> the rows that choose or are reported.
    """
    known = {example.inputs for example in train}
    for name, rows in scored.items():
        count = sum(example.inputs in known for example in rows)
        if count > MAX_SHARED * len(rows):
            yield (
                f"{count:,} of {len(rows):,} {name} rows have the text of a train row, so their scores are too good. "
                "Take these rows out of one of the two."
            )


def warn_of_shared_texts(task: str, train: Sequence[Example], scored: Mapping[str, Sequence[Example]]) -> None:
    """Warn of scored rows that have the texts of training rows; arguments as in `tell_of_shared_texts`.

    Warns:
      UserWarning: for each part with more than `MAX_SHARED` of such rows.
    """
    for sentence in tell_of_shared_texts(train, scored):
        warnings.warn(f"Task {task}: {sentence}", stacklevel=3)
