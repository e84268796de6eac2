"""Say what is wrong with a config in words of its own: the rule, what was received, and where."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from softprompt_tf.settings.spelling import nearest, nearest_method
from softprompt_tf.settings.yaml_tree import KeyPath

SectionOf = Callable[[Any], type[BaseModel]]
"""The class of a section, from the value that it was given."""


@dataclasses.dataclass(frozen=True)
class Described:
    """A section that is checked, and what messages need to know of it.

    Args:
      section: its class; every field has a description that follows "must be".
      values: what is checked.
      place: key path -> where it stands, such as "file:line".
      sections: key -> the class of the section below it, in this section or in one below.
      methods: what `prompt.method` may be.
      owner: what keys belong to, such as " of experiment `a`"; empty for the file itself.
    """

    section: type[BaseModel]
    values: Any
    place: Callable[[KeyPath], str]
    sections: Mapping[str, SectionOf] = dataclasses.field(default_factory=dict)
    methods: Collection[str] = ()
    owner: str = ""

    def messages(self, error: ValidationError) -> str:
        """Return a line for each mistake that pydantic found; one mistake is told once, whatever it tried."""
        # A value that follows from others is not made where one of those is wrong, which is told.
        mistakes = (detail for detail in error.errors() if detail["type"] != "default_factory_not_called")
        return "\n".join(dict.fromkeys(self._message(dict(detail)) for detail in mistakes))

    def _message(self, detail: Mapping[str, Any]) -> str:
        found = self._found(detail["loc"], is_missing=detail["type"] == "missing")
        if detail["type"] == "union_tag_invalid" and isinstance(detail["input"], Mapping):
            return self._unknown_method((*found.path, "method"), detail["input"]["method"])
        key, place = ".".join(found.path), self.place(found.path)
        if detail["type"] == "extra_forbidden":
            return f"Unknown key `{key}`{self.owner} in {place}.{nearest(found.path[-1], found.known)}"
        if detail["type"] == "missing":
            return f"Missing key `{key}`{self.owner} in {place}. It must be {found.description}."
        return f"`{key}`{self.owner} must be {found.description}. Received: {_received(found.value)} ({place})."

    def _unknown_method(self, path: KeyPath, method: Any) -> str:
        return (
            f"`{'.'.join(path)}`{self.owner} must be one of {', '.join(self.methods)}. Received: {_received(method)} "
            f"({self.place(path)}).{nearest_method(str(method), self.methods)}"
        )

    def _found(self, location: Sequence[str | int], *, is_missing: bool) -> "_Found":
        """Follow pydantic's location through the values, without the names of what it tried."""
        path: list[str] = []
        found = _Found((), self.values, (), "a mapping")
        section: type[BaseModel] | None = self.section
        value = self.values
        for number, part in enumerate(location):
            is_last_and_missing = is_missing and number == len(location) - 1
            if not is_last_and_missing and not _is_in(value, part):
                continue
            value = None if is_last_and_missing else _step(value, part)
            if section is None and isinstance(part, int):
                break  # an item of a list; the list is told
            path.append(str(part))
            if section is None or isinstance(part, int):
                found = dataclasses.replace(found, path=tuple(path), value=value)
                continue
            known = section.model_fields
            description = (known[part].description or "") if part in known else found.description
            found = _Found(tuple(path), value, tuple(known), description)
            section = self.sections[part](value) if part in known and part in self.sections else None
        return found


@dataclasses.dataclass(frozen=True)
class _Found:
    """What a path leads to: its value, the keys that its section may have, and what it must be."""

    path: KeyPath
    value: Any
    known: tuple[str, ...]
    description: str


def _is_in(value: Any, part: str | int) -> bool:
    if isinstance(value, Mapping):
        return any(str(key) == str(part) for key in value)
    return isinstance(value, list | tuple) and isinstance(part, int) and part < len(value)


def _step(value: Any, part: str | int) -> Any:
    if isinstance(value, Mapping):
        return next(each for key, each in value.items() if str(key) == str(part))
    return value[part]


def _received(value: Any) -> str:
    text = repr(_as_list(value))
    return text if len(text) <= 200 else text[:200] + "..."


def _as_list(value: Any) -> Any:
    """Return a value as it was written: sequences of a config are kept as tuples."""
    if isinstance(value, tuple | list):
        return [_as_list(each) for each in value]
    return {key: _as_list(each) for key, each in value.items()} if isinstance(value, Mapping) else value
