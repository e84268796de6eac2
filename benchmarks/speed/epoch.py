"""Part "epoch": one epoch of real rows, SST-2 and BoolQ, each side with its best padding.

Ours is the stream of `softprompt train`: rows of similar length share a batch. PEFT's is a DataLoader that shuffles and pads
each batch to its longest row; in a further case it groups rows by length as transformers' Trainer can (`group_by_length`).
The first rows of the training splits are taken, tokenized beforehand for both sides. Operations count real tokens only, so
that padding lowers the share of a product's rate.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.speed import comparison
from benchmarks.speed.cases import Case
from benchmarks.speed.figures import Target, quartiles, spread
from benchmarks.speed.options import Options
from benchmarks.speed.protocol import ROOT

# name, task file, rows, rows of a quick run (0: left out), other settings, target
EPOCHS: tuple[tuple[str, str, int, int, dict[str, Any], float | None], ...] = (
    ("SST-2", "glue_sst2", 1024, 256, {}, 2.0),
    ("BoolQ", "superglue_boolq", 256, 0, {}, 2.0),
    ("SST-2, PEFT by length too", "glue_sst2", 1024, 0, {"peer_groups": True}, None),
)
HEADER = (
    "| epoch | rows | tokens | positions with padding, ours / PEFT | ours, s | PEFT, s | our speed to PEFT's | "
    "ours, of a product's rate | both sides agree |\n|---|---|---|---|---|---|---|---|---|"
)


def measure(options: Options) -> dict[str, Any]:
    """Run the epochs for which there is data."""
    found = {}
    for name, task, rows, quick_rows, settings, target in EPOCHS:
        count = quick_rows if options.is_quick else rows
        if not count:
            continue
        token_ids = _token_ids(options, task, count)
        if token_ids is None:
            print(f"epoch {name}: left out, as {options.data} has no rows for it", flush=True)
            continue
        lengths = {key: list(map(len, ids)) for key, ids in json.loads(token_ids.read_text(encoding="utf-8")).items()}
        case = Case(
            name,
            {
                "kind": "epoch",
                "prompt": 20,
                "token_ids": str(token_ids),
                "lengths": lengths["inputs"],
                "target_lengths": lengths["targets"],
                **settings,
            },
            target,
        )
        result = comparison.run_case(case, options, warm_up=0, rounds=1 if options.is_quick else 3)
        found[name] = {**result, "rows": count, "tokens": sum(lengths["inputs"])}
        print(table_row(name, found[name]), flush=True)
    return found


def table(found: dict[str, Any]) -> str:
    """Return the Markdown table."""
    return "\n".join([HEADER, *(table_row(name, epoch) for name, epoch in found.items())])


def table_row(name: str, found: dict[str, Any]) -> str:
    """Return one row of the table."""
    ours, peer = (f"{quartiles(found[key])[1]:.1f}" for key in ("ours_s", "peer_s"))
    positions = " / ".join(f"{count:,}" for count in found["positions"])
    share = f"{quartiles(found['share_of_product'])[1]:.0%}"
    counts = [f"{found[key]:,}" for key in ("rows", "tokens")]
    cells = [name, *counts, positions, ours, peer, spread(found["speed"]), share, found["agreement"]]
    return f"| {' | '.join(cells)} |"


def targets(found: dict[str, Any]) -> list[Target]:
    """Return the targets of the epochs that have one."""
    return [
        Target(f"epoch of {name}: speed to PEFT's", epoch["target"], epoch["speed"])
        for name, epoch in found.items()
        if epoch["target"] is not None
    ]


def _token_ids(options: Options, task: str, count: int) -> Path | None:
    """Return the file of a task's first rows, or None where the data set is not there."""
    path = options.output.resolve() / f"{task}_{count}.json"
    task_file = ROOT / f"configs/tasks/{task}.yaml"
    data_set = options.data / ("superglue" if task.startswith("superglue") else "glue") / task.split("_")[1]
    if not path.is_file():
        if not data_set.is_dir():
            return None
        command = [sys.executable, "-m", "benchmarks.speed.real_rows", str(task_file), str(count), str(path)]
        subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "SOFTPROMPT_DATA": str(options.data)})
    return path
