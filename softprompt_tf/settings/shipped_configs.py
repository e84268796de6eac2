"""Find the configs that ship with the library by name, so that no clone of it is needed."""

import importlib.resources
from pathlib import Path

from softprompt_tf.errors import ConfigError
from softprompt_tf.settings.spelling import nearest

KINDS = ("runs", "tasks", "experiments")


def shipped_configs(kind: str) -> dict[str, Path]:
    """Return name -> file of the shipped configs of a kind ("runs", "tasks" or "experiments"), in alphabetical order."""
    folder = Path(str(importlib.resources.files("softprompt_tf.configs"))) / kind
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_config(name: str | Path, kind: str) -> Path:
    """Return a config file that is there, or the shipped one of that name.

    Args:
      name: a file; or what a shipped config is called: "sst2", "runs/sst2", "configs/runs/sst2.yaml".
      kind: of `KINDS`.

    Raises:
      ConfigError: if a name without an ending is neither. A file that is not there is left to who reads it.
    """
    path = Path(name)
    if path.is_file():
        return path
    known = shipped_configs(kind)
    above = path.parent.parts
    if above in ((), (kind,), ("configs", kind)) and path.suffix in ("", ".yaml") and path.stem in known:
        return known[path.stem]
    if path.suffix or above or path.exists():
        return path
    raise ConfigError(
        f"A config must be a file, or the name of one that ships with the library. Received: {str(name)!r}."
        f"{nearest(str(name), known)}"
    )
