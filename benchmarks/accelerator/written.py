"""Write results whole: a section that is killed leaves its last complete file."""

import json
import os
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any) -> None:
    """Write a file and move it to its place."""
    written = path.with_name(f"{path.name}.new")
    written.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    os.replace(written, path)


def read_json(path: Path) -> Any:
    """Return what a file holds, None if it is not there or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def last_line(path: Path) -> str:
    """Return the last line of a log that holds anything."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")
