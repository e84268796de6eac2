"""Read YAML as a tree that remembers the line of each value, and write it again."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from softprompt_tf.errors import ConfigError
from softprompt_tf.files.local_paths import local_source
from softprompt_tf.settings.spelling import nearest_file

KeyPath = tuple[str, ...]


@dataclass
class Tree:
    """The values of a YAML mapping and where each stands.

    Args:
      values: keys are text, sequences are tuples.
      places: key path -> "file:line" or "override `key=value`"; the path () is the whole tree.
      whole: key paths whose value replaces the one below it instead of being merged into it.
    """

    values: dict[str, Any]
    places: dict[KeyPath, str]
    whole: set[KeyPath] = field(default_factory=set)

    def place(self, path: KeyPath) -> str:
        """Return the place of a key, or of the nearest key above it; a tree of overrides alone may have none."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, "the overrides")


def read_yaml(path: Path) -> Tree:
    """Read one YAML file; an empty file is an empty mapping.

    Raises:
      ConfigError: if the file is missing, no YAML, no mapping, or says a key twice; names file and line.
    """
    path = local_source(path, error_type=ConfigError)
    if path.is_dir():
        raise ConfigError(f"A config must be a file. Received: the directory {path}.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"No such config file: {path}.{nearest_file(path)}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} must be UTF-8 text ({error.reason} at byte {error.start}).") from None
    tree = Tree({}, {(): str(path)})
    values = _values_of(text, tree.places, str(path))
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold keys and values. Received: {type(values).__name__}.")
    tree.values = values
    tree.places[()] = str(path)
    return tree


def parse_value(text: str, place: str) -> tuple[Any, list[KeyPath]]:
    """Read one value of YAML, for whose mistakes `place` is named; return it and the key paths in it."""
    places: dict[KeyPath, str] = {}
    return _values_of(text, places, place), list(places)


def dump_yaml(values: Mapping[str, Any]) -> str:
    """Write values as YAML that `read_tree` reads back to the same values."""
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000_000)


class _Loader(yaml.SafeLoader):
    """Reads scalars as YAML 1.2 does: `no` is a word, `1e-5` is a number, `1:30` is no number."""


class _Dumper(yaml.SafeDumper):
    """Quotes whatever either kind of YAML would not read back as text."""


_SCALARS = (
    ("tag:yaml.org,2002:null", re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")),
    ("tag:yaml.org,2002:int", re.compile(r"[-+]?(0|[1-9][0-9_]*)"), list("-+0123456789")),
    (
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+|[-+]?\.inf|\.nan"),
        list("-+.0123456789"),
    ),
)
_Loader.yaml_implicit_resolvers = {}
for _tag, _regexp, _first in _SCALARS:
    _whole = re.compile(rf"(?:{_regexp.pattern})$")
    _Loader.add_implicit_resolver(_tag, _whole, _first)
    _Dumper.add_implicit_resolver(_tag, _whole, _first)


def _values_of(text: str, places: dict[KeyPath, str], name: str) -> Any:
    """Return what a text says, None for an empty one, and put the place of each value into `places`."""
    try:
        loader, node = _compose(text, name)
        return _construct(loader, node, (), places, name) if node else None
    except RecursionError:
        raise ConfigError(
            f"{name} must be YAML of few levels. Received: values in values without end, or too deep. Does an alias, such as "
            "`*x`, stand inside its own anchor, `&x`?"
        ) from None


def _compose(text: str, name: str) -> tuple[_Loader, yaml.Node | None]:
    try:
        loader = _Loader(text)
        return loader, loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{name}{line} is not YAML: {error.problem or error.context}.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{name} is not YAML: {str(error).splitlines()[0]}.") from None


def _construct(loader: _Loader, node: yaml.Node, path: KeyPath, places: dict[KeyPath, str], name: str) -> Any:
    places[path] = f"{name}:{node.start_mark.line + 1}"
    if isinstance(node, yaml.SequenceNode):
        return tuple(
            _construct(loader, item, (*path, str(number)), places, name) for number, item in enumerate(node.value)
        )
    if not isinstance(node, yaml.MappingNode):
        return _scalar(loader, node, places[path])
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = f"{name}:{key_node.start_mark.line + 1}"
        key = str(_scalar(loader, key_node, line))
        if key in values:
            raise ConfigError(
                f"`{'.'.join((*path, key))}` must stand once. Received: {places[(*path, key)]} and {line}."
            )
        values[key] = _construct(loader, value_node, (*path, key), places, name)
        places[(*path, key)] = line
    return values


def _scalar(loader: _Loader, node: yaml.Node, place: str) -> Any:
    try:
        return loader.construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{place} is not YAML: {str(error).splitlines()[0]}.") from None
