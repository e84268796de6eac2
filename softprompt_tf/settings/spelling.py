"""Suggest the known name that a user most likely meant."""

import difflib
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from softprompt_tf.errors import DataError
from softprompt_tf.files.local_paths import local_source


def nearest(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean `x`?" for the known name that is closest to a wrong one, else the known names."""
    names = sorted(known)
    if alike := look_alike(name, names):
        return alike
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f" Did you mean `{close[0]}`?"
    return f" Known: {', '.join(names[:30]) or 'none'}."


def nearest_method(name: str, known: Iterable[str]) -> str:
    """Return what `nearest` does of a method; where none is close, that it may be one of a package that is not installed."""
    hint = nearest(name, known)
    return hint if "Did you mean" in hint else " If a package of yours has it, install that package."


def look_alike(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean ...?" for a known name that is shown as a wrong one is, but has other characters; "" without such.

    An accent may be a part of its letter or a character of its own, and some characters cannot be seen.
    """
    alike = [each for each in known if each != name and _as_seen(each) == _as_seen(name)]
    if not alike:
        return ""
    return f" Did you mean {alike[0]!a}? It looks the same, but has other characters than {name!a}."


def nearest_file(path: Path) -> str:
    """Return what to say after the name of a file that is not there: the closest one, or those of its kind."""
    if not path.parent.is_dir():
        return " Its directory does not exist either."
    names = sorted(entry.name for entry in path.parent.iterdir() if not entry.name.startswith("."))
    stems = {Path(name).stem: name for name in names}  # the ending says little: many names share it
    close = difflib.get_close_matches(path.stem, stems, n=1, cutoff=0.6)
    if close:
        return f" Did you mean `{stems[close[0]]}`?"
    alike = [name for name in names if _kind(name) == _kind(path.name)]
    return f" Known: {', '.join(alike[:30])}." if alike else ""


def check_files(paths: Iterable[str | Path]) -> None:
    """Refuse files or folders that are not there, before anything slow is loaded.

    Raises:
      DataError: for the first one.
    """
    for path in (local_source(each, error_type=DataError) for each in paths):
        if not path.exists():
            raise DataError(f"No such file: {path}.{nearest_file(path)}")


def _kind(name: str) -> str:
    """Return a name's ending, without that of a packed file."""
    path = Path(name)
    return path.with_suffix("").suffix if path.suffix in (".gz", ".xz") else path.suffix


def _as_seen(name: str) -> str:
    visible = [each for each in unicodedata.normalize("NFKC", name) if unicodedata.category(each) != "Cf"]
    return " ".join("".join(visible).split())
