"""The names and places of the backbones that ship inside the package, and of trained prompts for them."""

from pathlib import Path

_DIRECTORY = Path(__file__).parent / "bundled"


def bundled_backbones() -> tuple[str, ...]:
    """Return the names of the backbones that ship with the library."""
    return tuple(sorted(path.parent.name for path in _DIRECTORY.glob("*/config.json")))


def bundled_directory(name: str) -> Path:
    """Return the preset directory of a bundled backbone."""
    return _DIRECTORY / name


def bundled_prompts(name: str) -> Path | None:
    """Return the directory of trained prompts that ship with a backbone; None where there are none."""
    path = _DIRECTORY / name / "prompts"
    return path if name in bundled_backbones() and path.is_dir() else None
