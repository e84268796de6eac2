"""What the package offers, what it must not know, and that its light half loads without TensorFlow."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from softprompt_tf import pretraining

LIGHT = """
import sys
import softprompt_tf
before = "tensorflow" in sys.modules
import softprompt_tf.pretraining as pretraining
assert ("tensorflow" in sys.modules) == before
assert pretraining.Mixture and pretraining.load_corpora
assert ("tensorflow" in sys.modules) == before
"""


def test_every_exported_name_exists():
    assert len(set(pretraining.__all__)) == len(pretraining.__all__)
    assert all(hasattr(pretraining, name) for name in pretraining.__all__)


def test_other_names_are_no_attributes():
    with pytest.raises(AttributeError, match="has no attribute 'Pretrained'"):
        pretraining.Pretrained  # noqa: B018


def test_the_half_that_makes_batches_loads_without_tensorflow():
    subprocess.run([sys.executable, "-c", LIGHT], check=True, timeout=60)


def test_the_package_imports_only_itself_and_modules_that_know_nothing_of_prompts():
    allowed = tuple(
        f"softprompt_tf.{name}"
        for name in (
            "pretraining",
            "backbones",
            "errors",
            "files",
            "keras_backend",
            "lazy_names",
            "progress",
            "settings",
            "shown_numbers",
            "tasks.rows",
            "tasks.tensorflow_sources",
            "training.distribution",
            "training.saved_run",
            "typing",
        )
    )
    for path in Path(pretraining.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            module = getattr(node, "module", None) or ""
            assert not module.startswith("softprompt_tf") or module.startswith(allowed), f"{path.name}: {module}"
