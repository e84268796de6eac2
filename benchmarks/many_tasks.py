"""What do many tasks in one export cost, and how long does adding one take?

    python -m benchmarks.many_tasks --output runs/many_tasks [--layers 2] [--counts 1 100 10000] [--rounds 15]
    python -m benchmarks.measured_tables --take many_tasks runs/many_tasks

One frozen T5 of T5 1.1 Base's width, with random weights and few layers, is exported with one task; the other tasks are added to
it, each a prompt of 20 rows. Every count is loaded in a process of its own, through TensorFlow's C API as in a model server: load
time, and resident memory after a request of each kind. Then all counts are loaded in one process and answer `classify`, 16 rows of
as many tasks as there are, in interleaved rounds. At last one task is added to an export of all of Base's layers. Linux only
(/proc). Nothing is trained: random prompts cost what trained ones cost.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from benchmarks.conditions import conditions, load
from benchmarks.measured_tables.serving import MANY_TASKS

if TYPE_CHECKING:
    from softprompt_tf.backbones import FrozenT5
    from softprompt_tf.methods import TaskPrompt

HIDDEN, WIDE, LAYERS, HEADS, HEAD_DIM, ROWS = 768, 2048, 12, 12, 64, 32128  # T5 1.1 Base
PROMPT_LENGTH = 20
BATCH_SIZE = 16
TEXT = "A sentence of some twenty words that says nothing much, so that every row of a batch has the same length."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/many_tasks"))
    parser.add_argument("--layers", type=int, default=2, help="of the T5 whose tasks are counted")
    parser.add_argument("--add-layers", type=int, default=LAYERS, help="of the T5 that one task is added to")
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 100, 10_000])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--load", type=Path, help="measure one version and print it as JSON")
    parser.add_argument("--time", type=Path, nargs="+", help="time several versions and print them as JSON")
    parsed = parser.parse_args()
    if parsed.load:
        print(json.dumps(measure_load(parsed.load)))
        return
    if parsed.time:
        print(json.dumps(measure_latency(parsed.time, parsed.counts, parsed.rounds)))
        return
    load_before = load()
    with tempfile.TemporaryDirectory() as scratch:
        versions = write_counts(Path(scratch) / "counts", parsed.layers, parsed.counts)
        loads = [_in_process("--load", version) for version in versions]
        times = _in_process("--rounds", parsed.rounds, "--counts", *parsed.counts, "--time", *versions)
        add = measure_add(Path(scratch) / "base", parsed.add_layers)
    figures = {
        "layers": parsed.layers,
        "rounds": parsed.rounds,
        "counts": [
            {"tasks": count, "prompts_mb": count * PROMPT_LENGTH * HIDDEN * 4 / 1e6, **loaded, **latency}
            for count, loaded, latency in zip(parsed.counts, loads, times, strict=True)
        ],
        "add": {"layers": parsed.add_layers, **add},
    }
    MANY_TASKS.write(parsed.output, {**conditions(load_before), **figures})


# === Exports ===


def write_counts(base: Path, layers: int, counts: list[int]) -> list[Path]:
    """Write one version for each number of tasks, ascending; each holds the tasks of the one before."""
    from softprompt_tf.export import add_tasks, write_saved_model

    prompts = make_prompts(counts[-1])
    names = list(prompts)
    first = {name: prompts[name] for name in names[: counts[0]]}
    versions = [write_saved_model(base, random_t5(layers), first, verify=False)]
    for before, count in pairwise(counts):
        more = {name: prompts[name] for name in names[before:count]}
        versions.append(add_tasks(base, more, verify=False))
    return versions


def random_t5(layers: int) -> "FrozenT5":
    """Return a frozen T5 of Base's width with the bundled backbone's vocabulary and random weights."""
    import keras_hub

    import softprompt_tf as sp
    from softprompt_tf.backbones import FrozenT5

    backbone = keras_hub.models.T5Backbone(
        vocabulary_size=ROWS,
        num_layers=layers,
        num_heads=HEADS,
        hidden_dim=HIDDEN,
        intermediate_dim=WIDE,
        key_value_dim=HEAD_DIM,
        use_gated_activation=True,
        tie_embedding_weights=False,
    )
    return FrozenT5(backbone, sp.load_t5("mini").tokenizer, name=f"random-base-{layers}-layers")


def make_prompts(count: int) -> "dict[str, TaskPrompt]":
    """Return task id -> random prompt [20, H] with two labels."""
    from softprompt_tf.methods import TaskPrompt

    generator = np.random.default_rng(0)
    return {
        f"task_{k:05d}": TaskPrompt(
            prompt=generator.normal(size=(PROMPT_LENGTH, HIDDEN)).astype(np.float32), labels=("yes", "no")
        )
        for k in range(count)
    }


# === Measures ===


def measure_load(version: Path) -> dict[str, float]:
    """Load a version as a server does; return seconds, and MB of resident memory that loading and a few requests took."""
    from softprompt_tf.export.session.c_api import load_c_api
    from softprompt_tf.export.session.session_loader import SavedModelSession

    load_c_api()
    before, start = _resident_mb(), time.perf_counter()
    with SavedModelSession(version) as session:
        seconds = time.perf_counter() - start
        for _ in range(2):
            session.run("classify", _spread_request(1))
        return {"load_s": seconds, "resident_mb": _resident_mb() - before}


def measure_latency(versions: list[Path], counts: list[int], rounds: int) -> list[dict[str, Any]]:
    """Return the median seconds of `classify`, and the median of the rounds' ratios to the first version, for each version."""
    from softprompt_tf.export.session.session_loader import SavedModelSession

    sessions = [SavedModelSession(version) for version in versions]
    requests = [_spread_request(count) for count in counts]
    seconds: list[list[float]] = [[] for _ in versions]
    for k in range(rounds + 3):
        for session, request, column in zip(sessions, requests, seconds, strict=True):
            start = time.perf_counter()
            session.run("classify", request)
            if k >= 3:  # the first ones build and optimize the graph
                column.append(time.perf_counter() - start)
    ratios = [[a / b for a, b in zip(column, seconds[0], strict=True)] for column in seconds]
    return [
        {"classify_s": statistics.median(column), "ratio": statistics.median(ratio), "quartiles": _quartiles(ratio)}
        for column, ratio in zip(seconds, ratios, strict=True)
    ]


def measure_add(base: Path, layers: int) -> dict[str, float]:
    """Add one task to an export of one; return seconds without and with the check, from a new process, and bytes written."""
    from softprompt_tf.export import add_tasks, write_saved_model
    from softprompt_tf.methods import write_prompt

    prompts = make_prompts(4)
    start = time.perf_counter()
    write_saved_model(base, random_t5(layers), {"task_00000": prompts["task_00000"]}, verify=False)
    write_s = time.perf_counter() - start
    times = {}
    for key, name, verify in (("add_s", "task_00001", False), ("add_and_verify_s", "task_00002", True)):
        start = time.perf_counter()
        version = add_tasks(base, {name: prompts[name]}, verify=verify)
        times[key] = time.perf_counter() - start
    file = write_prompt(base.parent / "task.safetensors", prompts["task_00003"])
    code = (
        "import sys; from softprompt_tf.export import add_tasks; "
        "add_tasks(sys.argv[1], {'last': sys.argv[2]}, verify=False)"
    )
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, str(base), str(file)], check=True, capture_output=True)
    times["add_in_a_new_process_s"] = time.perf_counter() - start
    known = {path.stat().st_ino for path in version.rglob("*") if path.is_file()}
    written = [path.stat() for path in version.with_name("4").rglob("*") if path.is_file()]
    return {
        "write_whole_export_s": write_s,
        **times,
        "export_mb": sum(status.st_size for status in written) / 1e6,
        "new_kb": sum(status.st_size for status in written if status.st_ino not in known) / 1e3,
        "prompt_kb": prompts["task_00003"].prompt.nbytes / 1e3,
    }


def _spread_request(count: int) -> dict[str, list[str]]:
    """Return a batch of equal texts for tasks that lie as far from each other as there are tasks."""
    places = np.linspace(0, count - 1, BATCH_SIZE).astype(int)
    return {"task_id": [f"task_{place:05d}" for place in places], "text": [TEXT] * BATCH_SIZE}


def _quartiles(values: list[float]) -> list[float]:
    low, _, high = statistics.quantiles(values, n=4)
    return [low, high]


def _resident_mb() -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024 / 1e6


def _in_process(*arguments: object) -> Any:
    command = [sys.executable, "-m", "benchmarks.many_tasks", *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
