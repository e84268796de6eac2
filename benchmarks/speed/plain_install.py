"""Run a worker as in a plain installation, of this library and what it requires.

    python -m benchmarks.speed.plain_install our_worker

TensorFlow, Keras and KerasHub import some packages where they are installed, and do without where they are not. Tests and reports
need these packages, so a developer's environment has them.
"""

import importlib.abc
import runpy
import sys
from typing import Any

HIDDEN = ("jax", "matplotlib", "nltk", "pandas", "rouge_score")


class _NotThere(importlib.abc.MetaPathFinder):
    """Says of the hidden packages that they are not installed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Raise ModuleNotFoundError for these packages."""
        if name in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def main() -> None:
    """Hide the packages, then run the module that the command line names, with the other arguments."""
    sys.meta_path.insert(0, _NotThere())
    del sys.argv[0]
    runpy.run_module(f"benchmarks.speed.{sys.argv[0]}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
