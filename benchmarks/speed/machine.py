"""What the figures were measured on: processor, cores, threads and versions."""

import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

OURS = ("tensorflow", "keras", "keras-hub", "numpy")
PEER_CODE = (
    "import json, os, torch, transformers, peft; torch.set_num_threads(os.cpu_count() or 1); "
    "print(json.dumps([torch.get_num_threads(), "
    "{'torch': torch.__version__, 'transformers': transformers.__version__, 'peft': peft.__version__}]))"
)


def machine(peer_python: str) -> dict[str, Any]:
    """Return processor, cores, the threads of both sides and the versions."""
    done = subprocess.run([peer_python, "-c", PEER_CODE], check=True, capture_output=True, text=True)
    peer_threads, peer_versions = json.loads(done.stdout.splitlines()[-1])
    versions = {"Python": platform.python_version(), **{name: importlib.metadata.version(name) for name in OURS}}
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": f"{os.cpu_count()} (TensorFlow's default) and {peer_threads} (torch)",
        "system": platform.platform(),
        "versions": {**versions, **peer_versions},
    }


def processor() -> str:
    """Name the processor."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
