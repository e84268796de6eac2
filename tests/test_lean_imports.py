"""A command starts without what Keras and KerasHub import only because it is installed; everything else finds it."""

import importlib
import subprocess
import sys

import pytest

from softprompt_tf.cli import lean_imports as module
from softprompt_tf.cli.lean_imports import lean_imports
from softprompt_tf.quiet import quiet

OWNER = "try:\n    import spared_part as part\nexcept ImportError:\n    part = None\n"


@pytest.fixture(autouse=True)
def modules(tmp_path, monkeypatch):
    """A module `part_owner`, which imports `spared_part` where that is installed; it is spared."""
    (tmp_path / "part_owner.py").write_text(OWNER)
    (tmp_path / "spared_part.py").write_text("there = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(module, "SPARED", {"part_owner": ("spared_part",)})
    yield
    for name in ("part_owner", "spared_part"):
        sys.modules.pop(name, None)


def test_a_library_does_not_find_what_it_is_spared():
    with lean_imports():
        assert importlib.import_module("part_owner").part is None
        assert "spared_part" not in sys.modules


def test_others_find_it_before_and_after():
    with lean_imports():
        assert importlib.import_module("spared_part").there
        assert importlib.import_module("part_owner").part.there  # it was there before


def test_outside_of_commands_nothing_is_spared():
    with lean_imports():
        pass

    assert importlib.import_module("part_owner").part.there


def test_two_hooks_stand_around_one_import(monkeypatch):
    order = []

    class Around:
        def __enter__(self):
            order.append("in")

        def __exit__(self, *error):
            order.append("out")

    hook = module.ImportHook({"part_owner": Around})
    monkeypatch.setattr(sys, "meta_path", [hook, *sys.meta_path])
    with quiet(), lean_imports():
        assert importlib.import_module("part_owner").part is None

    assert order == ["in", "out"]


def test_the_command_line_starts_without_beam_and_what_it_needs():
    code = (
        "import sys; from softprompt_tf.cli.cli import build_parser; build_parser()\n"
        "print([name for name in ('apache_beam', 'google_crc32c', 'tensorflow') if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


@pytest.mark.thorough
def test_keras_starts_without_these_libraries_and_they_can_be_used():
    code = (
        "import sys\n"
        "from softprompt_tf.cli.lean_imports import SPARED, lean_imports\n"
        "with lean_imports():\n"
        "    import keras_hub, softprompt_tf; softprompt_tf.PromptedT5\n"
        "print(sorted({'sklearn', 'matplotlib', 'pandas', 'nltk', 'jax'} & set(sys.modules)))\n"
        "from softprompt_tf.tasks.metrics.answered_rows import AnsweredRows\n"
        "from softprompt_tf.tasks.metrics.classification import matthews_correlation\n"
        "rows = AnsweredRows((('a',), ('b',)), ('a', 'b'))\n"
        "print(matthews_correlation(rows))\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)

    assert done.stdout.splitlines() == ["[]", "1.0"], done.stderr
