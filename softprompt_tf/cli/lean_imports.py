"""Start a command without what TensorFlow, Keras and KerasHub import only because it is installed.

Keras imports scikit-learn for its wrappers of estimators, matplotlib for its pictures and pandas for data frames. KerasHub imports
rouge-score, and NLTK with it, for a metric. TensorFlow Lite's converter and a callback of Keras import JAX. All do without where it
is missing. No command uses these parts, and they take a third of all imports' time. This library's own code imports them where it
needs them.
"""

import contextlib
import importlib.abc
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from softprompt_tf.import_hook import ImportHook

SPARED = {
    "keras": ("sklearn", "matplotlib", "pandas"),
    "keras_hub": ("rouge_score",),
    "keras.src.callbacks.orbax_checkpoint": ("jax",),
    "tensorflow.lite.python.util": ("jax",),
}
"""A module -> what it finds missing while it is imported itself."""


@contextlib.contextmanager
def lean_imports() -> Iterator[None]:
    """Spare the libraries that are imported within this context what they do not need."""
    hook = ImportHook({name: partial(_missing, spared) for name, spared in SPARED.items()})
    sys.meta_path.insert(0, hook)
    try:
        yield
    finally:
        sys.meta_path.remove(hook)


@contextlib.contextmanager
def _missing(names: Sequence[str]) -> Iterator[None]:
    finder = _NotThere(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _NotThere(importlib.abc.MetaPathFinder):
    """Says of some modules that they are not installed; one that was imported before stays there."""

    def __init__(self, names: Sequence[str]):
        self._names = names

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Raise ModuleNotFoundError for these modules."""
        if name in self._names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
