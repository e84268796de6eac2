"""What a run was made on: the device, its driver, and the versions.

python -m benchmarks.accelerator.device OUT
"""

import datetime
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.accelerator.written import write_json
from benchmarks.speed.machine import processor

PACKAGES = ("jax", "jaxlib", "keras", "keras-hub", "numpy", "tensorflow")
QUERY = "name,memory.total,driver_version"


def device() -> dict[str, Any]:
    """Return the names of the accelerator and the processor, and the versions of what is installed."""
    return {
        "accelerator": accelerator(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {"Python": platform.python_version(), **_versions()},
    }


def accelerator() -> str | None:
    """Return name, memory and driver of the first NVIDIA GPU, None where there is none."""
    try:
        command = ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader"]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(done.stdout.splitlines()), "").strip() or None


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    write_json(Path(sys.argv[1]) / "device.json", device())
