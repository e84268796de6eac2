"""Compare two checkouts of this library: `python -m benchmarks.speed.two_checkouts OLD NEW [--rounds 16] [--only step]`.

OLD and NEW are directories of checkouts, each with its own `.venv`. Both sides run as processes of their own and take turns, so
that a machine that slows down slows both; ratios are taken round by round. Below 1 means that NEW is faster.
"""

import argparse
import os
import statistics
import subprocess
from pathlib import Path
from typing import IO

CASES = (
    ("train", 20),
    ("train", 100),
    ("train_checkpointed", 20),
    ("generate_8", 20),
    ("generate_32", 20),
    ("classify", 20),
    ("step_behind", 20),  # these with `mini`, the others with the shape of T5 1.1 Small
    ("classify_one", 20),
    ("generate_one", 20),
    ("first_fit", 20),
    ("first_labels", 20),
)
WORKER = Path(__file__).with_name("checkout_worker.py")


def main() -> None:
    """Print a row for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--only", default="", help="the cases whose name holds this")
    arguments = parser.parse_args()
    print("| case | prompt | old, ms | new, ms | new / old (quartiles) |\n|---|---|---|---|---|")
    for case, length in (each for each in CASES if arguments.only in each[0]):
        print(_row(case, length, [arguments.old, arguments.new], arguments.rounds), flush=True)


def _row(case: str, length: int, checkouts: list[Path], rounds: int) -> str:
    sides = [_started(checkout, case, length) for checkout in checkouts]
    seconds: list[list[float]] = [[], []]
    for number in range(rounds):
        for k in (0, 1) if number % 2 == 0 else (1, 0):
            seconds[k].append(_one_run(sides[k]))
    for side in sides:
        _pipe(side.stdin).close()
        side.wait()
    ratios = [new / old for old, new in zip(*seconds, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    old, new = (1e3 * statistics.median(values) for values in seconds)
    return f"| {case} | {length} | {old:.0f} | {new:.0f} | {middle:.2f} ({low:.2f} to {high:.2f}) |"


def _started(checkout: Path, case: str, length: int) -> subprocess.Popen[str]:
    side = subprocess.Popen(
        [checkout / ".venv" / "bin" / "python", "-P", WORKER, case, str(length)],
        cwd=checkout,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    for line in _pipe(side.stdout):
        if line.strip() == "ready":
            return side
    raise SystemExit(f"{checkout} cannot run the case {case}.")


def _one_run(side: subprocess.Popen[str]) -> float:
    stdin = _pipe(side.stdin)
    stdin.write("run\n")
    stdin.flush()
    return float(_pipe(side.stdout).readline())


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


if __name__ == "__main__":
    main()
