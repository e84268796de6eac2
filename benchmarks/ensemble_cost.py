"""What a vote costs: B texts asked of an ensemble of five prompts beside a batch of 5 B texts asked of one prompt.

    python benchmarks/ensemble_cost.py [--backbone mini] [--rounds 30]

In Python (`PromptEnsemble`) and in a written export. Runs are interleaved (A B A B ...); each figure is a median over rounds, each
ratio the median of the rounds' ratios, with the quartiles beside it. Nothing is trained: random prompts cost what trained ones do.
"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

import softprompt_tf as sp
from softprompt_tf.evaluation.ensemble import PromptEnsemble
from softprompt_tf.export import write_saved_model

MEMBERS = 5
ROWS = 8
LENGTH = 20
LABELS = ("yes", "no")
TEXT = "A sentence of some twenty words that says nothing much, so that every row of a batch has the same length."


def main() -> None:
    """Time both sides in both places and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="mini")
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    t5 = sp.load_t5(arguments.backbone)
    models = [sp.PromptedT5(t5, sp.prompt_tuning(LENGTH, seed=k), labels=LABELS) for k in range(MEMBERS)]
    prompts = [model.task_prompt("task") for model in models]
    few, many = [TEXT] * ROWS, [TEXT] * (ROWS * MEMBERS)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, TensorFlow {tf.__version__}")
    print(f"{ROWS} texts of {MEMBERS} prompts beside {len(many)} texts of one, {arguments.rounds} rounds:")

    ensemble = PromptEnsemble(t5, prompts)
    for name in ("classify", "generate_scored"):
        vote, single = getattr(ensemble, name), getattr(models[0], name)
        _report(f"Python, {name}", lambda ask=vote: ask(few), lambda ask=single: ask(many), arguments.rounds)

    with tempfile.TemporaryDirectory() as directory:
        served = {"one": prompts[0], "five": prompts}
        version = write_saved_model(Path(directory) / "bench", t5, served, verify=False)
        signatures = tf.saved_model.load(str(version)).signatures
        for name in ("classify", "serving_default"):
            _report(
                f"export, {name}",
                lambda ask=signatures[name]: ask(task_id=tf.constant(["five"] * len(few)), text=tf.constant(few)),
                lambda ask=signatures[name]: ask(task_id=tf.constant(["one"] * len(many)), text=tf.constant(many)),
                arguments.rounds,
            )


def _report(name: str, ensemble: Callable[[], object], batch: Callable[[], object], rounds: int) -> None:
    times = np.array([[_seconds(ensemble), _seconds(batch)] for _ in range(rounds + 2)])[2:]  # two to warm up
    ensemble_ms, batch_ms = np.median(times, axis=0) * 1000
    low, ratio, high = np.percentile(times[:, 0] / times[:, 1], [25, 50, 75])
    print(f"  {name}: {ensemble_ms:.1f} ms beside {batch_ms:.1f} ms, {ratio:.2f} ({low:.2f} to {high:.2f})", flush=True)


def _seconds(ask: Callable[[], object]) -> float:
    started = time.perf_counter()
    ask()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
