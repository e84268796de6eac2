"""Our speed beside PEFT's, in interleaved rounds, and beside what the machine can do at all.

    python -m benchmarks.speed                 # all cases
    python -m benchmarks.speed --quick         # the shorter ones, few rounds
    python -m benchmarks.speed --only "training step"

T5 1.1 Small with random weights, float32, all cores, 16 rows of 128 tokens; both sides have the same weights, prompts and
batches, and must agree before anything is timed. Each round times our side, PEFT's and one large matrix product, in turn.
Every side is a process of its own. A Markdown table is printed; OUTPUT/results.json has every raw time.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed.cases import CASES, SHARED, Case, check_agreement
from benchmarks.speed.figures import quartiles, ratios
from benchmarks.speed.protocol import ROOT, Worker
from benchmarks.speed.work import flops

WARM_UP = 3
LIMIT = {"size": 3072}
HEADER = (
    "| case | both sides agree | ours, ms | PEFT, ms | our speed to PEFT's | target | ours, share of sgemm | "
    "peak memory, ours / PEFT, MB |\n|---|---|---|---|---|---|---|---|"
)


def compare(ours: Worker, peer: Worker, limit: Worker, case: Case, model: Path, rounds: int) -> dict[str, Any]:
    """Check that both sides agree, then time them in turn."""
    settings = {"model": str(model), **SHARED, **case.settings}
    agreement = check_agreement(case, *(worker.ask("prepare", case=settings) for worker in (ours, peer)))
    limit_flops = limit.ask("prepare", case=LIMIT)["flops"]
    times: tuple[list[float], list[float], list[float]] = ([], [], [])
    for k in range(WARM_UP + rounds):
        for worker, column in zip((ours, peer, limit), times, strict=True):
            seconds = worker.ask("run")["seconds"]
            if k >= WARM_UP:
                column.append(seconds)
    rates = [limit_flops / seconds for seconds in times[2]]
    work = flops(settings)
    return {
        "agreement": agreement,
        "target": case.target,
        "ours_s": times[0],
        "peer_s": times[1],
        "speed": ratios(times[1], times[0]),
        "flops": work,
        "sgemm_flops_per_s": rates,
        "share_of_sgemm": [work / seconds / rate for seconds, rate in zip(times[0], rates, strict=True)],
        "peak_mb": [worker.ask("memory")["vmhwm_mb"] for worker in (ours, peer)],
    }


def run_case(case: Case, model: Path, rounds: int, peer_python: str) -> dict[str, Any]:
    """Start the workers of a case, compare, and end them."""
    sides = ((sys.executable, "our"), (peer_python, "peer"), (sys.executable, "limit"))
    workers = [Worker([python, "-m", f"benchmarks.speed.{side}_worker"]) for python, side in sides]
    try:
        return compare(*workers, case=case, model=model, rounds=rounds)
    finally:
        for worker in workers:
            worker.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, print the table, and write the times."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="only cases whose name holds this")
    parser.add_argument("--quick", action="store_true", help="the shorter cases, four rounds")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--output", type=Path, default=ROOT / "runs/bench")
    parser.add_argument("--peer-python", default=str(ROOT / ".venv-parity/bin/python"))
    parsed = parser.parse_args(arguments)
    cases = [case for case in CASES if parsed.only in case.name and (case.is_quick or not parsed.quick)]
    if not cases:
        parser.error(f"no case has {parsed.only!r} in its name; there are: {'; '.join(case.name for case in CASES)}")
    model = (parsed.output / "t5_1_1_small").resolve()
    if not (model / "config.json").is_file():
        code = "import pathlib, sys; from benchmarks.speed import inputs; inputs.write_model(pathlib.Path(sys.argv[1]))"
        subprocess.run([parsed.peer_python, "-c", code, str(model)], check=True, cwd=ROOT)
    results: dict[str, Any] = {"machine": machine()}
    print(f"{machine()}\n\n{HEADER}", flush=True)
    for case in cases:
        found = run_case(case, model, 4 if parsed.quick else parsed.rounds, parsed.peer_python)
        results[case.name] = found
        print(table_row(case.name, found), flush=True)
        (parsed.output / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def machine() -> str:
    """Name the processor and its cores."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def table_row(name: str, found: dict[str, Any]) -> str:
    """Return one row: medians, with quartiles of the ratio."""
    low, middle, high = quartiles(found["speed"])
    ours, peer = (1e3 * quartiles(found[key])[1] for key in ("ours_s", "peer_s"))
    share = quartiles(found["share_of_sgemm"])[1]
    our_peak, peer_peak = found["peak_mb"]
    cells = [
        name,
        found["agreement"],
        f"{ours:.1f}",
        f"{peer:.1f}",
        f"{middle:.2f} ({low:.2f} to {high:.2f})",
        f"{found['target']:.1f}",
        f"{share:.0%}",
        f"{our_peak:.0f} / {peer_peak:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
