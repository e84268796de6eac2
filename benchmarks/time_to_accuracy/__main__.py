"""Train tasks with PEFT, and here in front and on cached states: how long to the best score of PEFT's prompt tuning?

    SOFTPROMPT_DATA=data python -m benchmarks.time_to_accuracy OUTPUT --peer-python PYTHON [--tasks trec] [--seeds 1 2 3]

All sides have `mini`'s weights, and a cosine; all but `tune` have the same rows. Batches have 32 rows and a run 400 steps. Those
called `small_batch` have 8 rows and 800 steps; `late` has 2,000 steps.

- `peft`: PEFT's prompt tuning, Adafactor at 1.0. `front` and `late` are the same here, with the same first prompt (20 vectors,
  class labels): in front of the input, and behind the encoder on cached states (float16).
- `peft_lora`, `peft_ia3`: PEFT's other methods where it puts them in a T5, with Adam: LoRA of rank 8 (alpha 16) and (IA)^3.
- `decoder`: adapters of width 16 in the decoder, Adam at 0.01; `ia3_decoder`: (IA)^3 there at 0.3; both on cached states.
- `lora`: rank 8, Adam at 0.003; `ia3`: (IA)^3, Adam at 0.3, with small batches at 0.2.
- `tune`: `softprompt tune` for two minutes, from nothing; all its seconds count.

Each rate of `RATES` is a run of its own, in a process of its own; the run with the best dev accuracy counts, and no other run's
seconds. Encoding counts. The others' dev rows are scored ten times in a run, outside the clock. Seconds are those of the clock,
and of all cores (`cpu`), which other processes move less. Each run is kept in OUTPUT; a run that is there is not made again.
PYTHON has PyTorch, transformers and PEFT (tests/parity/requirements.txt).
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.time_to_accuracy.curves import runs_of, table

ROOT = Path(__file__).resolve().parents[2]
# Side -> the module that runs it, and its steps, or the minutes of a search.
RUNS = {
    "peft": ("peer", 400),
    "peft_small_batch": ("peer", 800),
    "peft_lora": ("peer", 400),
    "peft_ia3": ("peer", 400),
    "front": ("ours", 400),
    "late": ("ours", 2_000),
    "decoder": ("ours", 400),
    "ia3_decoder": ("ours", 400),
    "lora": ("ours", 400),
    "ia3": ("ours", 400),
    "ia3_small_batch": ("ours", 800),
    "tune": ("search", 2),
}
# Side -> the rates that are tried: our best one for this T5 (docs/measurements/methods_by_tasks.md), and one on each side of it;
# for small batches that of large ones, and half of it.
RATES = {"peft_small_batch": (1.0, 0.5), "peft_lora": (0.003, 0.001, 0.01), "peft_ia3": (0.3, 0.1, 1.0)}


def main() -> None:
    """Make the runs that are missing, and print the table of all."""
    arguments = _arguments()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for task in arguments.tasks:
        for seed in arguments.seeds:
            for side in arguments.sides:
                for rate in RATES.get(side, (None,)):
                    _run(arguments, task, seed, side, rate)
    print(table(_runs(arguments)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--peer-python", required=True, help="a Python with PyTorch, transformers and PEFT")
    parser.add_argument("--tasks", nargs="+", default=["trec", "sst2", "ag_news"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--sides", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--rows", type=int, default=20_000, help="of the training split, drawn with a fixed seed")
    return parser.parse_args()


def _run(arguments: argparse.Namespace, task: str, seed: int, side: str, rate: float | None) -> None:
    from benchmarks.time_to_accuracy.prepare import prepare

    rates = [] if rate is None else [str(rate)]
    result = arguments.output / f"{'_'.join([task, str(seed), side, *rates])}.json"
    if result.exists():
        return
    case = prepare(arguments.output, task, seed, arguments.rows)
    module, amount = RUNS[side]
    python = arguments.peer_python if module == "peer" else sys.executable
    command = [python, "-m", f"benchmarks.time_to_accuracy.{module}", case, result, str(amount), side, *rates]
    print(f"{task}, seed {seed}, {side}", *rates, flush=True)
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})


def _runs(arguments: argparse.Namespace) -> Iterable[dict[str, Any]]:
    for run in runs_of(arguments.output):
        if run["task"] in arguments.tasks and run["seed"] in arguments.seeds:
            yield run


if __name__ == "__main__":
    main()
