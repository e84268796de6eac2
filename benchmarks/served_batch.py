"""How much a served batch costs: mixed tasks beside one task, and gRPC beside a direct call; and how large an export is.

    python -m benchmarks.served_batch [--backbone mini] [--rounds 30] [--output DIR]
    python -m benchmarks.measured_tables --take served_batch DIR

Runs are interleaved (A B A B ...); each figure is a median over rounds, each ratio the median of the rounds' ratios, with the
quartiles beside it. Nothing is trained: prompts of sampled words cost what trained ones cost.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

import softprompt_tf as sp
from benchmarks.conditions import conditions, load
from benchmarks.measured_tables.serving import SERVED_BATCH
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
    parser.add_argument("--output", type=Path, default=Path("runs/served_batch"), help="the directory of the figures")
    arguments = parser.parse_args()
    load_before = load()
    t5 = sp.load_t5(arguments.backbone, vocabulary=arguments.vocabulary)
    prompts = {
        f"task{k}": sp.PromptedT5(t5, sp.prompt_tuning(length, seed=k), labels=LABELS).task_prompt(f"task{k}")
        for k, length in enumerate(LENGTHS)
    }
    with tempfile.TemporaryDirectory() as directory:
        version = write_saved_model(Path(directory) / "bench", t5, prompts, verify=False)
        size = _size(t5, prompts, version)
        classify = tf.saved_model.load(str(version)).signatures["classify"]
        with (
            ModelServer(version.parent, model_name="bench", grpc_port=0, rest_port=None) as server,
            PredictionClient(f"127.0.0.1:{server.grpc_port}", model_name="bench") as client,
        ):
            times = interleaved(_requests(classify, client), arguments.rounds)
    figures = {"backbone": arguments.backbone, "rounds": arguments.rounds, "size": size, "seconds": times}
    SERVED_BATCH.write(arguments.output, {**conditions(load_before), **figures})


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


def _size(t5: sp.FrozenT5, prompts: dict, version: Path) -> dict[str, int]:
    """Return the bytes of an export, and of the weights and prompts in it."""
    return {
        "export": sum(path.stat().st_size for path in version.rglob("*") if path.is_file()),
        "weights": sum(int(np.prod(v.shape)) * np.dtype("float32").itemsize for v in t5.backbone.weights),
        "prompts": sum(prompt.prompt.nbytes for prompt in prompts.values()),
    }


if __name__ == "__main__":
    main()
