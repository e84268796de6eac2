"""Build softprompt-client from the modules of softprompt-tf, under a package name of its own.

The modules are copied from the clone into a temporary directory and their imports are renamed. So the code is in git once,
and the two distributions have no file in common. In a source distribution the copies are there already.
"""

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).resolve().parent
CLIENT, CLONE = HERE.parent, HERE.parents[2]
PACKAGE = "softprompt_client"

# Modules outside `export/client/` that the client needs, and their names in the package.
OTHERS = {
    "softprompt_tf/errors.py": "errors.py",
    "softprompt_tf/inference/answers.py": "row_answers.py",
    "softprompt_tf/shown_numbers.py": "shown_numbers.py",
    "softprompt_tf/version.py": "version.py",
}
RENAMED = {
    "softprompt_tf.export.client": PACKAGE,
    "softprompt_tf.errors": f"{PACKAGE}.errors",
    "softprompt_tf.inference.answers": f"{PACKAGE}.row_answers",
    "softprompt_tf.shown_numbers": f"{PACKAGE}.shown_numbers",
}
_IMPORT = re.compile(r"^\s*(?:from|import) (softprompt_tf[\w.]*)", re.MULTILINE)


def renamed_imports(source: str, name: str) -> str:
    """Return a module with the imports that it has in this package; refuse one of a module that is not in it."""
    for line in _IMPORT.findall(source):
        if not any(line == old or line.startswith(f"{old}.") for old in RENAMED):
            raise SystemExit(
                f"The client must import its own modules only. Received: {line} in {name}. See {__file__}."
            )
    for old, new in RENAMED.items():
        source = source.replace(f"from {old} import", f"from {new} import").replace(f"from {old}.", f"from {new}.")
    return source


def copy_project(target: Path) -> None:
    """Write the whole project, with the package, into an empty directory."""
    for name in ("pyproject.toml", "setup.cfg", "setup.py", "README.md"):
        shutil.copy(HERE / name, target)
    shutil.copy(CLONE / "LICENSE", target)
    package = target / PACKAGE
    package.mkdir()
    sources = {path: path.name for path in CLIENT.glob("*.py") if path.name != "__init__.py"}
    sources |= {CLONE / path: name for path, name in OTHERS.items()}
    for path, name in sources.items():
        (package / name).write_text(renamed_imports(path.read_text("utf-8"), name), "utf-8")
    shutil.copy(HERE / "public_names.py", package / "__init__.py")
    (package / "py.typed").touch()


def main() -> None:
    """Build in the unpacked source distribution, or from the clone in a temporary directory."""
    if (HERE / PACKAGE).is_dir():
        setup()
        return
    if {"editable_wheel", "develop"} & set(sys.argv):
        raise SystemExit(
            "softprompt-client is made of copies, so it cannot be installed as editable. Run `pip install` without --editable; "
            "to work on the client, install softprompt-tf, which has the same modules in softprompt_tf.export.client."
        )
    began_in = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="softprompt_client_") as directory:
        copy_project(Path(directory))
        os.chdir(directory)
        try:
            setup()
        finally:
            os.chdir(began_in)


if __name__ == "__main__":
    main()
