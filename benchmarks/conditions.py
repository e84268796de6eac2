"""The machine, its load and the date of a measurement, as result files keep them and as pages show them."""

import datetime
import importlib.metadata
import os
from typing import Any

from benchmarks.speed.machine import processor


def load() -> float:
    """Return the machine's load over the last minute: how many processes wanted to run."""
    return round(os.getloadavg()[0], 2)


def conditions(load_before: float) -> dict[str, Any]:
    """Return what a result file keeps beside its figures: machine, load before and after, and date."""
    machine = {
        "processor": processor(),
        "cores": os.cpu_count(),
        "tensorflow": importlib.metadata.version("tensorflow"),
    }
    return {"machine": machine, **load_and_date(load_before)}


def load_and_date(load_before: float) -> dict[str, Any]:
    """Return the load before and after, and the date."""
    return {"load": [load_before, load()], "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat()}


def told(kept: dict[str, Any]) -> str:
    """Name machine, version, load and date of a result file in one line."""
    machine = kept["machine"]
    return f"{machine['cores']} cores, {machine['processor']}, TensorFlow {machine['tensorflow']}; {told_load(kept)}."


def told_load(kept: dict[str, Any]) -> str:
    """Say the load before and after, and the date."""
    before, after = kept["load"]
    return f"load {before:.1f} before, {after:.1f} after; {kept['date']}"
