"""How much a served batch costs: mixed tasks beside one task, and gRPC beside a direct call; and how large an export is.

    python benchmarks/served_batch.py [--backbone mini] [--rounds 30] [--json FILE]

Runs are interleaved (A B A B ...); each figure is a median over rounds, each ratio the median of the rounds' ratios, with the
quartiles beside it. Nothing is trained: prompts of sampled words cost what trained ones cost.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

import softprompt_tf as sp
from softprompt_tf.export import ModelServer, PredictionClient, write_saved_model

BATCH_SIZE = 16
LENGTHS = (20, 20, 20)
LABELS = ("yes", "no")
TEXT = "A sentence of some twenty words that says nothing much, so that every row of a batch has the same length."


def main() -> None:
    """Export three tasks, time every kind of request, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="mini")
    parser.add_argument("--vocabulary", type=Path, help="a SentencePiece file, for a backbone that has none beside it")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", type=Path, help="where the seconds of each kind of request are written too")
    arguments = parser.parse_args()
    t5 = sp.load_t5(arguments.backbone, vocabulary=arguments.vocabulary)
    prompts = {
        f"task{k}": sp.PromptedT5(t5, sp.prompt_tuning(length, seed=k), labels=LABELS).task_prompt(f"task{k}")
        for k, length in enumerate(LENGTHS)
    }
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, TensorFlow {tf.__version__}")
    with tempfile.TemporaryDirectory() as directory:
        version = write_saved_model(Path(directory) / "bench", t5, prompts, verify=False)
        _print_size(t5, prompts, version)
        classify = tf.saved_model.load(str(version)).signatures["classify"]
        with (
            ModelServer(version.parent, model_name="bench", grpc_port=0, rest_port=None) as server,
            PredictionClient(f"127.0.0.1:{server.grpc_port}", model_name="bench") as client,
        ):
            times = interleaved(_requests(classify, client), arguments.rounds)
    if arguments.json:
        arguments.json.write_text(json.dumps(times), encoding="utf-8")
    print(f"\nclassify, {arguments.rounds} interleaved rounds:")
    for name, seconds in times.items():
        print(f"  {name:<30} median {1e3 * statistics.median(seconds):8.2f} ms")
    batch = f"{BATCH_SIZE} rows"
    direct, mixed = times[f"{batch}, direct, one task"], times[f"{batch}, direct, mixed tasks"]
    _print_ratio(f"{batch}, mixed / one task", mixed, direct)
    _print_ratio(f"{batch}, gRPC / direct", times[f"{batch}, gRPC, mixed tasks"], mixed)
    _print_ratio("1 row, gRPC / direct", times["1 row, gRPC, one task"], times["1 row, direct, one task"])


def _requests(classify: Callable[..., object], client: PredictionClient) -> dict[str, Callable[[], object]]:
    """Return every kind of request: one row and a batch, one task and mixed ones, by gRPC and by a direct call."""
    tasks = {
        "1 row, {}, one task": ["task0"],
        f"{BATCH_SIZE} rows, {{}}, one task": ["task0"] * BATCH_SIZE,
        f"{BATCH_SIZE} rows, {{}}, mixed tasks": [f"task{k % len(LENGTHS)}" for k in range(BATCH_SIZE)],
    }
    kinds: dict[str, Callable[[], object]] = {}
    for name, ids in tasks.items():
        texts = [TEXT] * len(ids)
        kinds[name.format("direct")] = partial(
            lambda a, b: classify(task_id=tf.constant(a), text=tf.constant(b)), ids, texts
        )
        kinds[name.format("gRPC")] = partial(client.classify, texts, task_id=ids)
    return kinds


def interleaved(kinds: dict[str, Callable[[], object]], rounds: int, *, uncounted: int = 3) -> dict[str, list[float]]:
    """Run every kind once each round, after some runs that are not counted; return the seconds."""
    for run in kinds.values():
        for _ in range(uncounted):
            run()
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, run in kinds.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return times


def _print_size(t5: sp.FrozenT5, prompts: dict, version: Path) -> None:
    weights = sum(int(np.prod(v.shape)) * np.dtype("float32").itemsize for v in t5.backbone.weights)
    values = sum(prompt.prompt.nbytes for prompt in prompts.values())
    size = sum(path.stat().st_size for path in version.rglob("*") if path.is_file())
    print(
        f"export: {size / 1e6:.2f} MB for {weights / 1e6:.2f} MB of weights and {values / 1e6:.3f} MB of prompts "
        f"({100 * (size / (weights + values) - 1):.1f} % more)"
    )


def _print_ratio(name: str, above: list[float], below: list[float]) -> None:
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(f"  {name:<30} {middle:.3f} (quartiles {low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
