"""The name that a user most likely meant: a wrong name and the known ones enter, the end of a message leaves."""

import difflib
from collections.abc import Iterable
from pathlib import Path


def nearest(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean `x`?" for the known name that is closest to a wrong one, else the known names."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f" Did you mean `{close[0]}`?"
    return f" Known: {', '.join(names[:30]) or 'none'}."


def nearest_file(path: Path) -> str:
    """Return what to say after the name of a file that is not there."""
    if not path.parent.is_dir():
        return " Its directory does not exist either."
    return nearest(path.name, [entry.name for entry in path.parent.iterdir()])
