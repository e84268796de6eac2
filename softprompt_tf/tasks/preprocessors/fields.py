"""Read checked values from nested rows; errors name the row's place and the field."""

from collections.abc import Mapping, Sequence
from typing import Any

from softprompt_tf.errors import DataError
from softprompt_tf.tasks.missing_field import missing_field

Values = Mapping[str, Any]


def text_field(values: Values, key: str, location: str) -> str:
    """Return the text under a key.

    Raises:
      DataError: if it is missing or no text.
    """
    return str(_checked(values, key, location, str, "text"))


def mapping_field(values: Values, key: str, location: str) -> Values:
    """Return the mapping under a key; likewise."""
    result: Values = _checked(values, key, location, Mapping, "an object")
    return result


def number_field(values: Values, key: str, location: str) -> int:
    """Return the whole number under a key; likewise."""
    return int(_checked(values, key, location, int, "a whole number"))


def mappings_field(values: Values, key: str, location: str) -> list[Values]:
    """Return the list of mappings under a key; likewise."""
    items = list(_checked(values, key, location, list | tuple, "a list of objects"))
    if not all(isinstance(item, Mapping) for item in items):
        raise DataError(f"{location}: field `{key}` must be a list of objects. Received: {str(items)[:80]}.")
    return items


def texts(value: Any, key: str, location: str) -> tuple[str, ...]:
    """Return the texts of a list, in its order.

    Args:
      value: a list of texts; or of objects with a `text`, as in SQuAD's and SuperGLUE's files; or one object whose `text`
        is a list of texts, as TFDS has them.
      key: the field's name and
      location: the row's place, for messages.

    Raises:
      DataError: if it is none of these.
    """
    items = value.get("text") if isinstance(value, Mapping) else value
    if isinstance(items, str) or not isinstance(items, Sequence):
        raise DataError(f"{location}: field `{key}` must be a list of texts. Received: {str(value)[:80]!r}.")
    found: list[Any] = [item.get("text") if isinstance(item, Mapping) else item for item in items]
    for item in found:
        if not isinstance(item, str):
            raise DataError(f"{location}: field `{key}` must hold texts. Received: {item!r}.")
    return tuple(found)


def _checked(values: Values, key: str, location: str, kind: Any, description: str) -> Any:
    if key not in values:
        raise missing_field(location, key, values)
    value = values[key]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise DataError(f"{location}: field `{key}` must be {description}. Received: {str(value)[:80]!r}.")
    return value
