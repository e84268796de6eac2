"""Part "cold_start": from the start of a Python process to its first answer, both sides in turn.

The files are in the operating system's cache: a first start of each side is not counted. Ours starts from text, PEFT's from
token ids, so that PEFT's loads no tokenizer.
"""

import json
import os
import subprocess
import sys
import time
from typing import Any

from benchmarks.speed.figures import quartiles, ratios, spread
from benchmarks.speed.options import Options
from benchmarks.speed.protocol import QUIET, ROOT

TOKENS = 8
PARTS = ("import", "load", "first answer", "second answer", "process")


def measure(options: Options) -> dict[str, Any]:
    """Start both sides in turn; return seconds by side and part."""
    found: dict[str, Any] = {side: {part: [] for part in PARTS} for side in ("ours", "peer")}
    commands = {
        "ours": [sys.executable, "-m", "benchmarks.speed.plain_install", "our_start"],
        "peer": [options.peer_python, "-m", "benchmarks.speed.peer_start"],
    }
    for k in range(2 if options.is_quick else 6):
        for side, command in commands.items():
            arguments = [str(options.model()), str(TOKENS)]
            start = time.perf_counter()
            done = subprocess.run(
                [*command, *arguments],
                check=True,
                cwd=ROOT,
                env={**os.environ, **QUIET},
                stdout=subprocess.PIPE,
                text=True,
            )
            seconds = {**json.loads(done.stdout.splitlines()[-1]), "process": time.perf_counter() - start}
            if k:
                for part in PARTS:
                    found[side][part].append(seconds[part])
    return found


def table(found: dict[str, Any]) -> str:
    """Return the Markdown table."""
    lines = ["| seconds of | ours | PEFT | PEFT's time to ours |", "|---|---|---|---|"]
    for part in PARTS:
        ours, peer = found["ours"][part], found["peer"][part]
        name = "the whole process" if part == "process" else f"the {part}" if "answer" in part else part
        lines.append(f"| {name} | {quartiles(ours)[1]:.2f} | {quartiles(peer)[1]:.2f} | {spread(ratios(peer, ours))} |")
    return "\n".join(lines)
