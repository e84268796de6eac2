"""Postprocessors: functions from what the model wrote to what the metrics compare, by name."""

from collections.abc import Callable, Iterable, Mapping

from softprompt_tf.errors import ConfigError
from softprompt_tf.settings.spelling import nearest
from softprompt_tf.tasks.postprocessors.wsc import wsc_referent
from softprompt_tf.tasks.rows import Row

Postprocessor = Callable[[str, Row], str]
"""(what the model wrote, the preprocessed row that it was asked about) -> what the metrics compare."""

POSTPROCESSORS: Mapping[str, Postprocessor] = {function.__name__: function for function in (wsc_referent,)}

__all__ = ["POSTPROCESSORS", "Postprocessor", "check_postprocessors", "postprocessed"]


def check_postprocessors(names: Iterable[str]) -> None:
    """Raise a ConfigError that names the nearest postprocessor, if one is unknown."""
    for name in names:
        if name not in POSTPROCESSORS:
            raise ConfigError(f"Unknown postprocessor. Received: {name!r}.{nearest(str(name), POSTPROCESSORS)}")


def postprocessed(text: str, row: Row, names: Iterable[str]) -> str:
    """Run postprocessors over one text, the first name first.

    Raises:
      DataError: if the row has not the fields that a postprocessor needs.
    """
    for name in names:
        text = POSTPROCESSORS[name](text, row)
    return text
