"""Preprocessors: functions from one row of a source to the rows that a template can fill, by name."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain

from softprompt_tf.errors import ConfigError
from softprompt_tf.settings.spelling import nearest
from softprompt_tf.tasks.preprocessors.answers import one_row_per_answer
from softprompt_tf.tasks.preprocessors.labels import true_rows
from softprompt_tf.tasks.preprocessors.multirc import multirc
from softprompt_tf.tasks.preprocessors.punctuation import pad_punctuation
from softprompt_tf.tasks.preprocessors.record import record
from softprompt_tf.tasks.preprocessors.squad import squad
from softprompt_tf.tasks.preprocessors.stsb import stsb
from softprompt_tf.tasks.preprocessors.wsc import wsc
from softprompt_tf.tasks.rows import Row

Preprocessor = Callable[[Row], Iterable[Row]]
"""One row of a source -> the rows that it stands for: several, one, or none."""

PREPROCESSORS: Mapping[str, Preprocessor] = {
    function.__name__: function
    for function in (multirc, record, wsc, squad, stsb, pad_punctuation, one_row_per_answer, true_rows)
}

__all__ = ["PREPROCESSORS", "Preprocessor", "check_preprocessors", "preprocessed"]


def check_preprocessors(names: Iterable[str]) -> None:
    """Raise a ConfigError that names the nearest preprocessor, if one is unknown."""
    for name in names:
        if name not in PREPROCESSORS:
            raise ConfigError(f"Unknown preprocessor. Received: {name!r}.{nearest(str(name), PREPROCESSORS)}")


def preprocessed(rows: Iterable[Row], names: Iterable[str]) -> Iterator[Row]:
    """Run preprocessors over rows, the first name first.

    Args:
      rows: of a source; they are taken one by one, as results are asked for.
      names: keys of `PREPROCESSORS`.

    Raises:
      ConfigError: if a name is unknown.
      DataError: while iterating, if a row is not of the form that a preprocessor takes; names the row's place.
    """
    names = tuple(names)
    check_preprocessors(names)
    result: Iterator[Row] = iter(rows)
    for name in names:
        result = chain.from_iterable(map(PREPROCESSORS[name], result))
    return result
