"""Run the first import of some modules within a context, whoever imports them, and when."""

import contextlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

Around = Callable[[], contextlib.AbstractContextManager[None]]


class ImportHook(importlib.abc.MetaPathFinder):
    """A finder for the front of `sys.meta_path`.

    Args:
      around: name of a module -> makes the context of its first import.
    """

    def __init__(self, around: dict[str, Around]):
        self._around = around

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """Find a module as the other finders do, and put its context around it."""
        if name not in self._around:
            return None
        around = self._around.pop(name)
        others = [finder for finder in sys.meta_path if finder is not self]
        found = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _LoaderWithin(spec.loader, around)
        return spec


class _LoaderWithin(importlib.abc.Loader):
    def __init__(self, loader: Any, around: Around):
        self._loader, self._around = loader, around

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        with self._around():
            self._loader.exec_module(module)
