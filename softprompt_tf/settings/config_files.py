"""Read config files: merge includes, apply `key=value` overrides, make the names of data files absolute."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from softprompt_tf.errors import ConfigError
from softprompt_tf.settings.yaml_tree import KeyPath, Tree, parse_value, read_yaml

SOURCE_SUFFIXES = (".jsonl", ".json-lines", ".json", ".csv", ".tsv", ".txt", ".parquet")

_SUFFIX = "|".join(map(re.escape, SOURCE_SUFFIXES))
_SOURCE_FILE = re.compile(rf"(\.{{1,2}}/.*|.*({_SUFFIX})(\.gz|\.xz)?(\[\d*:\d*\])?)")
_PLAIN_LINE = re.compile(r"\s*\w.*")
_PACKAGE_VARIABLE = "SOFTPROMPT_PACKAGE"
_VARIABLE = re.compile(r"\$\{(\w*)\}")

Localise = Callable[[Tree, Path], None]
"""Makes what one file says independent of its directory: a tree, to be changed in place, and the directory."""


def read_tree(path: Path, *, localise: Localise, including: tuple[Path, ...] = ()) -> Tree:
    """Read a YAML file and all that it includes.

    Args:
      path: a file with a mapping; its `include` is a file or a list of files, relative to its own directory, merged in
        order, the file's own keys on top.
      localise: is called on each file's tree before it is merged.
      including: the files that led here.

    Raises:
      ConfigError: if a file is missing, malformed, or includes itself.
    """
    path = Path(os.path.normpath(path))
    identity = path.resolve()
    if identity in including:
        chain = " -> ".join(file.name for file in (*including[including.index(identity) :], identity))
        raise ConfigError(f"A config must not include itself. Received: {chain}.")
    tree = read_yaml(path)
    included = tree.values.pop("include", ())
    merged = Tree({}, {(): str(path)})
    for name in (included,) if isinstance(included, str) else included or ():
        if not isinstance(name, str):
            raise ConfigError(f"`include` must be file names. Received: {name!r} ({tree.place(('include',))}).")
        merge(merged, read_tree(path.parent / name, localise=localise, including=(*including, identity)))
    localise(tree, path.parent)
    merge(merged, tree)
    merged.places[()] = str(path)
    return merged


def merge(base: Tree, top: Tree) -> None:
    """Lay `top` over `base`, in place: mappings are merged key by key, all else is replaced."""
    _merge(base.values, top.values, (), top)
    base.places.update(top.places)
    base.whole |= top.whole


def apply_override(tree: Tree, text: str, *, localise: Localise) -> None:
    """Lay one `key=value` over a tree, in place.

    Args:
      tree: the tree to change.
      text: such as "training.steps=50"; the key is dotted, the value is YAML.
      localise: is called on the override, with the working directory.
    """
    key, equals, value = text.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        raise ConfigError(f"An override must have the form key=value. Received: {text!r}. Example: training.steps=50.")
    place = f"override `{text}`"
    top = Tree({}, {path[:depth]: place for depth in range(1, len(path) + 1)})
    parsed, below = _value_of_override(value, place)
    top.places.update({(*path, *inner): place for inner in below})
    level = top.values
    for name in path[:-1]:
        level = level.setdefault(name, {})
    level[path[-1]] = parsed
    localise(top, Path.cwd())
    merge(tree, top)


def _value_of_override(text: str, place: str) -> tuple[Any, list[KeyPath]]:
    """Read the value of an override. A line that is no YAML for its colons is a text: a shell takes the quotes around it."""
    is_plain = _PLAIN_LINE.fullmatch(text) is not None
    try:
        parsed, below = parse_value(text, place)
    except ConfigError:
        if is_plain:
            return text.strip(), []
        raise
    if is_plain and _has_key_alone(parsed):  # "Is it good? Review:", "film: {text}"
        return text.strip(), []
    return parsed, below


def _has_key_alone(value: Any) -> bool:
    """Say whether a mapping, or one inside it, has a key without a value."""
    return isinstance(value, Mapping) and any(each is None or _has_key_alone(each) for each in value.values())


def resolve_source(text: str, *, directory: Path, key: str, place: str) -> str:
    """Make the name of a source independent of the directory that it was written in.

    Args:
      text: a file or a TFDS name, with `${NAME}` for environment variables and `${SOFTPROMPT_PACKAGE}` for the directory
        of this library, where the demo's data lie.
      directory: what a relative file name is relative to.
      key: the key and
      place: its place, for messages.

    Returns:
      An absolute file name, or a TFDS name or a URL as it is.
    """
    name = expanded(text, key=key, place=place)
    if "://" in name:
        return name
    is_file = _SOURCE_FILE.fullmatch(name) or (directory / name).exists()
    return os.path.abspath(directory / name) if is_file else name


def expanded(text: str, *, key: str, place: str) -> str:
    """Return a path with `~` at its front as the home directory, and each `${NAME}` as the environment variable.

    Args:
      text: the path, as a config has it.
      key, place: as in `resolve_source`.

    Raises:
      ConfigError: if a variable is not set.
    """
    variables = {_PACKAGE_VARIABLE: str(Path(__file__).parents[1]), **os.environ}

    def value_of(match: re.Match[str]) -> str:
        if match[1] not in variables:
            raise ConfigError(
                f"The environment variable `{match[1]}` must be set for `{key}`. Received: {text} ({place}). "
                f"Set it: export {match[1]}=..."
            )
        value = variables[match[1]]
        is_directory = match.start() == 0 and text[match.end() : match.end() + 1] == "/"
        return os.path.abspath(value) if is_directory else value  # a variable knows nothing of the config's directory

    return os.path.expanduser(_VARIABLE.sub(value_of, text))


def _merge(base: dict[str, Any], top: Mapping[str, Any], path: KeyPath, tree: Tree) -> None:
    for key, value in top.items():
        here = (*path, key)
        below = base.get(key)
        if isinstance(below, tuple) and isinstance(value, Mapping) and here not in tree.whole:
            raise ConfigError(
                f"`{'.'.join(here)}` is a list, so it cannot be changed by key. Received: {tree.place(here)}."
            )
        if isinstance(below, dict) and isinstance(value, Mapping) and here not in tree.whole:
            _merge(below, value, here, tree)
        else:
            base[key] = value
