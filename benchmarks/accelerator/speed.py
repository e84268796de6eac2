"""Section "speed": our side and PEFT's on one device, in interleaved rounds, as many cases as the budget lets.

python -m benchmarks.accelerator.speed --output OUT --seconds 180 [--quick] [--peer-python PYTHON]
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.accelerator.agreement import agreement
from benchmarks.accelerator.budget import Budget
from benchmarks.accelerator.precisions import PRECISIONS
from benchmarks.accelerator.speed_cases import CASES, EXPECTED_S, QUICK_CASES, Case, groups
from benchmarks.accelerator.written import write_json
from benchmarks.speed.protocol import Worker
from benchmarks.speed.work import flops

SIDES = ("our", "peer")
Workers = dict[str, Worker]


def main() -> None:
    """Run the cases in their order, and write what is found after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--quick", action="store_true", help="tiny models and short rounds, for a dry run")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--peer-python", default=sys.executable)
    parsed = parser.parse_args()
    rounds = parsed.rounds or (2 if parsed.quick else 5)
    extra = {"round_s": 0.05} if parsed.quick else {}

    def run_case(case: Case, workers: Workers) -> dict[str, Any]:
        return compare({**case.settings, **extra}, workers, rounds)

    def run_matrix(precision: str, workers: Workers) -> dict[str, Any]:
        settings = {"kind": "matrix", "precision": precision, "size": 256 if parsed.quick else 8192, "round_s": 0.05}
        return compare(settings, workers, 3)

    found = run_groups(
        QUICK_CASES if parsed.quick else CASES,
        Budget(parsed.seconds),
        start=lambda: started(parsed.peer_python),
        run_case=run_case,
        run_matrix=run_matrix,
        keep=lambda found: write_json(parsed.output / "speed.json", found),
    )
    print(f"speed: {len(found['cases'])} cases, {len(found['left_out'])} left out", flush=True)


def run_groups(
    cases: Sequence[Case],
    budget: Budget,
    *,
    start: Callable[[], Workers],
    run_case: Callable[[Case, Workers], dict[str, Any]],
    run_matrix: Callable[[str, Workers], dict[str, Any]],
    keep: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Run the cases that still fit, those of a group on one pair of workers; the next pair starts while one works."""
    found: dict[str, Any] = {"cases": [], "matrix": {}, "left_out": []}
    following: Workers | None = None
    for group in groups(cases):
        if not budget.fits(expected_s(group[0], found)):
            found["left_out"] += [case.name for case in group]
            keep(found)
            continue
        with closing(following or start()) as workers:
            following = start() if group[-1] is not cases[-1] else None
            for case in group:
                if not budget.fits(expected_s(case, found)):
                    found["left_out"].append(case.name)
                    continue
                restart_ended(workers, start)
                if case.precision not in found["matrix"]:
                    found["matrix"][case.precision] = run_matrix(case.precision, workers)
                begin = budget.left
                result = result_or_failure(case, workers, run_case)
                found["cases"].append({**result, "name": case.name, "took_s": begin - budget.left})
                print(f"speed: {case.name}: {progress(result)}", flush=True)
                keep(found)
    if following:
        with closing(following):
            pass
    keep(found)
    return found


def result_or_failure(
    case: Case, workers: Workers, run_case: Callable[[Case, Workers], dict[str, Any]]
) -> dict[str, Any]:
    """Return what a case has found; a failure is kept in its place, so that the next case runs."""
    try:
        return run_case(case, workers)
    except Exception as error:
        failed = {"comparison": f"{type(error).__name__}: {error}"[:300]}
        empty: dict[str, Any] = {key: {} for key in ("seconds", "peak_bytes", "prepared")}
        return {"settings": case.settings, "flops": flops(case.settings), "failed": failed, **empty}


def restart_ended(workers: Workers, start: Callable[[], Workers]) -> None:
    """Start both sides again where a process has ended, as one does that the device has failed."""
    if not all(worker.is_running for worker in workers.values()):
        for worker in workers.values():
            worker.close()
        workers.update(start())


def expected_s(case: Case, found: dict[str, Any]) -> float:
    """Return what a case will take: as long as the last one of its shape and kind, or a guess."""
    alike = [
        known["took_s"]
        for known in found["cases"]
        if all(known["settings"][key] == case.settings[key] for key in ("shape", "kind"))
    ]
    return float(alike[-1] if alike else EXPECTED_S[case.shape])


def compare(settings: dict[str, Any], workers: Workers, rounds: int) -> dict[str, Any]:
    """Prepare both sides, compare what they answer, and time them in turn; a side that fails does not stop the other."""
    found: dict[str, Any] = {"settings": settings, "failed": {}, "seconds": {}, "peak_bytes": {}}
    found["prepared"] = {side: found_or_failed(found, side, workers, "prepare", case=settings) for side in SIDES}
    if settings["kind"] == "matrix":
        found["flops"] = 2.0 * settings["size"] ** 3
    else:
        found["flops"] = flops(settings)
        found["agreement"] = agreement(*found["prepared"].values(), dtype=PRECISIONS[settings["precision"]].dtype)
    for prepared in found["prepared"].values():
        (prepared or {}).pop("ids", None)  # they are compared, and too long to keep
    for timed in [False] + [True] * rounds:  # the first round warms up
        for side in SIDES:
            answer = None if side in found["failed"] else found_or_failed(found, side, workers, "run")
            if answer and timed:
                found["seconds"].setdefault(side, []).append(answer["seconds"] / answer["steps"])
                found["peak_bytes"][side] = answer.get("peak_bytes")
    return found


def found_or_failed(
    found: dict[str, Any], side: str, workers: Workers, do: str, **fields: Any
) -> dict[str, Any] | None:
    """Return a worker's answer, or None with its error kept."""
    try:
        return workers[side].ask(do, **fields)
    except (RuntimeError, OSError, ValueError) as error:
        found["failed"][side] = str(error)[:300]
        return None


def started(peer_python: str) -> Workers:
    """Start one process for each side; the peer's gets the module path that this run began with."""
    peer = ["env", f"PYTHONPATH={os.environ.get('PEER_PYTHONPATH', '')}", peer_python]
    commands = {"our": [sys.executable], "peer": peer}
    return {side: Worker([*commands[side], "-m", f"benchmarks.accelerator.{side}_device_worker"]) for side in SIDES}


@contextmanager
def closing(workers: Workers) -> Iterator[Workers]:
    """End the processes at the end, whatever happens."""
    try:
        yield workers
    finally:
        for worker in workers.values():
            worker.close()


def progress(result: dict[str, Any]) -> str:
    """Return the times of a case for the log."""
    times = [f"{side} {1e3 * min(seconds):.2f} ms" for side, seconds in result["seconds"].items()]
    failures = [f"{side} failed: {error}" for side, error in result["failed"].items()]
    return ", ".join([*times, *failures, str(result.get("agreement"))])


if __name__ == "__main__":
    begin = time.monotonic()
    main()
    print(f"speed: {time.monotonic() - begin:.0f} s", flush=True)
