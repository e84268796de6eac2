"""What the figures were measured on: processor, its matrix units, cores, threads and versions."""

import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

# A flag of the processor -> the unit.
UNITS = {
    "amx_bf16": "AMX (bfloat16)",
    "avx512_bf16": "AVX-512 (bfloat16)",
    "avx512f": "AVX-512",
    "avx2": "AVX2",
}
OURS = ("tensorflow", "keras", "keras-hub", "numpy")
PEER_CODE = (
    "import json, os, torch, transformers, peft; torch.set_num_threads(os.cpu_count() or 1); "
    "print(json.dumps([torch.get_num_threads(), "
    "{'torch': torch.__version__, 'transformers': transformers.__version__, 'peft': peft.__version__}]))"
)


def machine(peer_python: str) -> dict[str, Any]:
    """Return processor, matrix units, cores, the threads of both sides and the versions."""
    done = subprocess.run([peer_python, "-c", PEER_CODE], check=True, capture_output=True, text=True)
    peer_threads, peer_versions = json.loads(done.stdout.splitlines()[-1])
    versions = {"Python": platform.python_version(), **{name: importlib.metadata.version(name) for name in OURS}}
    return {
        "processor": processor(),
        "matrix_units": matrix_units(),
        "cores": os.cpu_count(),
        "threads": f"{os.cpu_count()} (TensorFlow's default) and {peer_threads} (torch)",
        "system": platform.platform(),
        "versions": {**versions, **peer_versions},
    }


def processor() -> str:
    """Name the processor."""
    return _of_first_core("model name") or platform.machine()


def matrix_units() -> str:
    """Name what the processor multiplies matrices with, the fastest first: "none known" where it does not say."""
    flags = set(_of_first_core("flags").split())
    return ", ".join(name for flag, name in UNITS.items() if flag in flags) or "none known"


def _of_first_core(field: str) -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.is_file() else []
    values = [line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == field]
    return values[0] if values else ""
