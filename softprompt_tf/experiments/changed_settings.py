"""Values of a sweep's settings: nested mappings laid over each other, dotted keys set, environment variables filled in."""

import os
import re
from collections.abc import Collection, Mapping
from typing import Any

from softprompt_tf.methods.registry import METHODS
from softprompt_tf.settings.spelling import nearest

_FILE = "file:"
_VARIABLE = re.compile(r"\$\{(\w*)\}")


class UnknownKeyError(LookupError):
    """A dotted key that no setting has.

    Args:
      key: the key.
      hint: what may be meant, to stand after a sentence.
    """

    def __init__(self, key: str, hint: str):
        super().__init__(key)
        self.key, self.hint = key, hint


def with_changes(values: Mapping[str, Any], change: Mapping[str, Any], *, written: Collection[str]) -> dict[str, Any]:
    """Set dotted keys in a copy of nested mappings.

    Args:
      values: the settings of an experiment, all of them.
      change: dotted key -> value. Another `prompt.method` starts from its own defaults.
      written: keys of the section `prompt` that the file says; another method keeps those that it has.

    Raises:
      UnknownKeyError: for a key that is not there.
    """
    copy = merged(values, {})
    method = change.get("prompt.method")
    if isinstance(method, str) and method in METHODS:
        copy["prompt"] = _of_method(method, copy["prompt"], written)
    for dotted, value in change.items():
        *above, last = dotted.split(".")
        if above == ["prompt"] and isinstance(method, str) and method not in METHODS:
            copy["prompt"][last] = value  # the method is refused where the section is checked
            continue
        level: Any = copy
        for key in [*above, last]:
            if not isinstance(level, dict) or key not in level:
                known = level if isinstance(level, dict) else {}
                raise UnknownKeyError(dotted, nearest(key, known))
            parent, level = level, level[key]
        parent[last] = value
    return copy


def _of_method(method: str, prompt: Mapping[str, Any], written: Collection[str]) -> dict[str, Any]:
    """Return a method's settings: what was written of those that it has, else its defaults."""
    config = METHODS[method].config
    kept = {key: value for key, value in prompt.items() if key in written and key in config.model_fields}
    return {**config(method=method).model_dump(mode="json"), **kept}


def merged(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `top` over `base`: mappings key by key, all else is replaced. Neither is changed."""
    laid = {key: merged(value, {}) if isinstance(value, Mapping) else value for key, value in base.items()}
    for key, value in top.items():
        below = laid.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        laid[key] = merged(below, value) if both else value  # type: ignore[arg-type]
    return laid


def with_variables(value: Any) -> Any:
    """Return a value with each `${NAME}` in its texts as the environment variable, where there is one, and `~/` as home."""
    if isinstance(value, str):
        kind, text = (_FILE, value.removeprefix(_FILE)) if value.startswith(_FILE) else ("", value)
        text = _VARIABLE.sub(_variable, text)
        return kind + (os.path.expanduser(text) if text.startswith("~/") else text)
    if isinstance(value, Mapping):  # the keys of `evaluate_on` are files too
        return {with_variables(key): with_variables(each) for key, each in value.items()}
    return [with_variables(each) for each in value] if isinstance(value, tuple | list) else value


def _variable(match: re.Match[str]) -> str:
    # One that is not set stays as it is: what needs it is left out, or refused, by name.
    return os.environ.get(match[1], match[0])
