"""Train tasks with PEFT, and here in front and on cached states: how long to the best score of PEFT's prompt tuning?

    SOFTPROMPT_DATA=data python -m benchmarks.time_to_accuracy OUTPUT --peer-python PYTHON [--tasks trec] [--seeds 1 2 3]

All sides have `mini`'s weights and batches of 32; all but `tune` have the same rows. `peft`, `front` and `late` have the same
first prompt (20 vectors, class labels), and Adafactor at 1.0 with a cosine. All but `late` and `tune` take 400 steps; `late`
takes 2,000 on cached states (float16). `peft_lora` and `peft_ia3` are PEFT's other methods: LoRA of rank 8 (alpha 16) and
(IA)^3, where PEFT puts them in a T5, with Adam and a cosine. Each rate of `RATES` is a run of its own, in a process of its own;
the run with the best dev accuracy counts, and no other run's seconds. Ours have one rate, Adam and a cosine: `decoder` has
adapters of width 16 in the decoder, at 0.01, `ia3_decoder` (IA)^3 in the decoder, at 0.3, both on cached states; `lora` has
rank 8, at 0.003, `ia3` 0.3. Encoding counts. `tune` is `softprompt tune` for two minutes, from nothing; all its seconds
count. The others' dev rows are scored ten times in a run, outside the clock. Seconds are those of the clock, and of all cores
(`cpu`), which other processes move less. Each run is kept in OUTPUT; a run that is there is not made again. PYTHON has
PyTorch, transformers and PEFT (tests/parity/requirements.txt).
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
    "peft_lora": ("peer", 400),
    "peft_ia3": ("peer", 400),
    "front": ("ours", 400),
    "late": ("ours", 2_000),
    "decoder": ("ours", 400),
    "ia3_decoder": ("ours", 400),
    "lora": ("ours", 400),
    "ia3": ("ours", 400),
    "tune": ("search", 2),
}
# Side -> the rates that are tried: our best one for this T5 (docs/measurements/methods_by_tasks.md), and one on each side of it.
RATES = {"peft_lora": (0.003, 0.001, 0.01), "peft_ia3": (0.3, 0.1, 1.0)}


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
