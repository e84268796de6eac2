"""Where the memory of a process goes: resident memory from Python itself to an answer, ours and PEFT's.

    python -m benchmarks.process_floor --output runs/process_floor --peer-python PYTHON_WITH_PEFT
    python -m benchmarks.measured_tables --take process_floor runs/process_floor

T5 1.1 Small of random weights, 16 rows of 128 tokens, a prompt of 20. Each side is a process of its own, once for an answer of 8
tokens and once for three training steps. Ours runs as a plain installation, and with what is installed here. Linux only (/proc).
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.conditions import conditions, load
from benchmarks.measured_tables.process_floor import KEPT, KINDS
from benchmarks.speed import inputs
from benchmarks.speed.cases import SHARED
from benchmarks.speed.protocol import QUIET, ROOT


def main() -> None:
    """Measure all sides, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/process_floor"))
    parser.add_argument("--peer-python", default=sys.executable, help="a Python that has PEFT and torch")
    parsed = parser.parse_args()
    model = parsed.output.resolve() / "t5_1_1_small"
    inputs.write_model(model)
    sides = {
        "ours": [sys.executable, "-m", "benchmarks.speed.plain_install", "our_floor"],
        "ours_with_extras": [sys.executable, "-m", "benchmarks.speed.our_floor"],
        "peer": [parsed.peer_python, "-m", "benchmarks.speed.peer_floor"],
    }
    before = load()
    found = {kind: {side: notes(command, model, kind) for side, command in sides.items()} for kind in KINDS}
    KEPT.write(parsed.output, {**conditions(before), **found})


def notes(command: list[str], model: Path, kind: str) -> list[dict[str, Any]]:
    """Return what a process noted, in MB, after each of its parts."""
    case = {**SHARED, "prompt": 20, "tokens": 8, "targets": 8, "kind": kind}
    done = subprocess.run(
        [*command, str(model), json.dumps(case)],
        check=True,
        cwd=ROOT,
        env={**os.environ, **QUIET},
        stdout=subprocess.PIPE,
        text=True,
    )
    noted: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return noted


if __name__ == "__main__":
    main()
