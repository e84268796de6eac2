"""Compare a training step with PEFT's, in interleaved rounds: see `--help`."""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.speed.figures import quartiles, ratios
from benchmarks.speed.protocol import ROOT, Worker

TOLERANCE = 1e-4
CASES = {f"training_step, prompt {length}": {"prompt": length} for length in (20, 100)}
SHAPE = {"rows": 16, "length": 128, "targets": 8, "rate": 0.1}
WARM_UP = 3


def compare(ours: Worker, peer: Worker, case: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Check that both sides agree, then time them in turn."""
    losses = [worker.ask("prepare", case=case)["losses"] for worker in (ours, peer)]
    apart = max(abs(a - b) for a, b in zip(*losses, strict=True))
    if not apart <= TOLERANCE:
        raise RuntimeError(f"Losses must agree within {TOLERANCE}. Received: {losses}.")
    times: tuple[list[float], list[float]] = ([], [])
    for k in range(WARM_UP + rounds):
        for worker, column in zip((ours, peer), times, strict=True):
            seconds = worker.ask("run")["seconds"]
            if k >= WARM_UP:
                column.append(seconds)
    return {"losses_apart": apart, "ours_s": times[0], "peer_s": times[1], "speed": ratios(times[1], times[0])}


def main() -> None:
    """Run, print a Markdown table, and write every raw time as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--only", choices=["training_step"], default="training_step")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--output", type=Path, default=ROOT / "runs/bench")
    parser.add_argument("--peer-python", default=str(ROOT / ".venv-parity/bin/python"))
    parsed = parser.parse_args()
    model = (parsed.output / "t5_1_1_small").resolve()
    if not (model / "config.json").is_file():
        code = "import pathlib, sys; from benchmarks.speed import inputs; inputs.write_model(pathlib.Path(sys.argv[1]))"
        subprocess.run([parsed.peer_python, "-c", code, str(model)], check=True, cwd=ROOT)
    results: dict[str, Any] = {"machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    print("| case | losses apart | ours, ms | PEFT, ms | our speed to PEFT's |\n|---|---|---|---|---|")
    for name, case in CASES.items():
        workers = [
            Worker([python, "-m", f"benchmarks.speed.{side}_worker"])
            for python, side in ((sys.executable, "our"), (parsed.peer_python, "peer"))
        ]
        try:
            found = compare(*workers, {"model": str(model), **SHAPE, **case}, parsed.rounds)
        finally:
            for worker in workers:
                worker.close()
        results[name] = found
        print(table_row(name, found), flush=True)
    (parsed.output / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def table_row(name: str, found: dict[str, Any]) -> str:
    """Return one row: medians, and the ratio with its quartiles."""
    low, middle, high = quartiles(found["speed"])
    ours, peer = (1e3 * quartiles(found[key])[1] for key in ("ours_s", "peer_s"))
    return (
        f"| {name} | {found['losses_apart']:.1e} | {ours:.1f} | {peer:.1f} | {middle:.2f} ({low:.2f} to {high:.2f}) |"
    )


if __name__ == "__main__":
    main()
