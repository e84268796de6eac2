"""What the package offers, and what it must not know."""

import ast
from pathlib import Path

import softprompt_tf
from softprompt_tf import methods


def test_every_exported_name_exists():
    assert sorted(methods.__all__) == methods.__all__
    assert all(hasattr(methods, name) for name in methods.__all__)


def test_the_public_constructors_are_those_of_all_methods():
    assert sorted(methods.METHODS) == methods.constructors.__all__
    for name, row in methods.METHODS.items():
        assert getattr(methods, name) is row.make is getattr(softprompt_tf, name)


def test_the_package_imports_only_itself_and_modules_that_know_nothing_of_models():
    shared = (
        "backbone_sizes",
        "errors",
        "files",
        "injection",
        "lazy_names",
        "prompt_places",
        "settings",
        "shown_numbers",
        "target_format",
        "typing",
        "version",
    )
    allowed = tuple(f"softprompt_tf.{name}" for name in ("methods", *shared))
    for path in Path(methods.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            module = getattr(node, "module", None) or ""
            assert not module.startswith("softprompt_tf") or module.startswith(allowed), f"{path.name}: {module}"
            assert not module.startswith("tensorflow"), path.name
