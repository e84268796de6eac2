"""The names and places of the backbones that ship inside the package, and of trained prompts for them."""

from pathlib import Path

_DIRECTORY = Path(__file__).parent / "bundled"
_NAMES = {"t5:838c18dc51ed4b31": "mini"}  # by the fingerprint of the weights


def bundled_backbones() -> tuple[str, ...]:
    """Return the names of the backbones that ship with the library."""
    return tuple(sorted(path.parent.name for path in _DIRECTORY.glob("*/config.json")))


def bundled_name(fingerprint: str) -> str | None:
    """Return the name of the bundled backbone with these weights, wherever they were read from; None for others.

    A directory of the user's may have the name of a bundled backbone.
    """
    return _NAMES.get(fingerprint)


def bundled_directory(name: str) -> Path:
    """Return the preset directory of a bundled backbone."""
    return _DIRECTORY / name


def bundled_prompts(name: str) -> Path | None:
    """Return the directory of trained prompts that ship with a backbone; None where there are none."""
    path = _DIRECTORY / name / "prompts"
    return path if name in bundled_backbones() and path.is_dir() else None
