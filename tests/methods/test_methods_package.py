"""What the package offers, and what it must not know."""

import ast
from pathlib import Path

from softprompt_tf import methods as prompts


def test_every_exported_name_exists():
    assert sorted(prompts.__all__) == prompts.__all__
    assert all(hasattr(prompts, name) for name in prompts.__all__)


def test_the_package_imports_only_itself_and_modules_that_know_nothing_of_models():
    shared = (
        "atomic_file",
        "backbone_sizes",
        "config_section",
        "errors",
        "injection",
        "large_file_pointer",
        "lazy_names",
        "local_paths",
        "names",
        "portable_names",
        "target_format",
        "version",
    )
    allowed = tuple(f"softprompt_tf.{name}" for name in ("prompts", *shared))
    for path in Path(prompts.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            module = getattr(node, "module", None) or ""
            assert not module.startswith("softprompt_tf") or module.startswith(allowed), f"{path.name}: {module}"
            assert not module.startswith("tensorflow"), path.name
