"""Name what differs between the settings that a run began with and those that it is asked to go on with."""

from collections.abc import Mapping
from typing import Any

_MISSING = object()


def setting_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return a text for each setting that differs, such as "`training.batch_size` is 8, it was 32"; [] for equal ones.

    Args:
      old, new: JSON values; mappings and lists of mappings are compared key by key.
    """
    before, after = _flat(old), _flat(new)
    return [
        f"`{key}` is {_told(after.get(key, _MISSING))}, it was {_told(before.get(key, _MISSING))}"
        for key in {**before, **after}
        if before.get(key, _MISSING) != after.get(key, _MISSING)
    ]


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    items: Any = None
    if isinstance(value, Mapping) and value:
        items = value.items()
    elif isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
        items = enumerate(value)
    if items is None:
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, each in items:
        flat |= _flat(each, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _told(value: Any) -> str:
    return "not set" if value is _MISSING else f"{value!r:.200}"
