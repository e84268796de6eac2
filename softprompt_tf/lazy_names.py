"""Public names of a package whose modules are loaded at the first use of a name."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy_names(package: str, home: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package.

    Args:
      package: its `__name__`.
      home: the name of each thing -> the module of the package that it is in.

    Example:
      `__getattr__ = lazy_names(__name__, {"load_t5": "load"})`
    """

    def get(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{home[name]}"), name)

    return get
