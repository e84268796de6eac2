"""Time a pretraining step of `mini` under Keras's TensorFlow and JAX backends, on this machine's CPU.

    python -m benchmarks.pretraining_backends CORPORA [--rounds 9] [--precision bfloat16]

CORPORA is a directory of texts, such as `benchmarks.accelerator.carry_corpora` writes. Both sides have the same weights, the same
optimizer and the same batches: three of each objective. Each side is a process of its own, and rounds go from one to the other,
so that a machine that slows down slows both. Tokens are real ones, of inputs and targets; padding is not counted. The first
pass over the batches, which traces or compiles, is reported apart. Losses before the first step must agree.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.machine import processor

BACKENDS = ("tensorflow", "jax")
BATCHES_OF_EACH = 3
RATE = 0.02


def main() -> None:
    """Be the parent, or one of the two sides."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.corpora, arguments.precision)
    else:
        print(json.dumps(compare(arguments), indent=2))


# === The parent ===


def compare(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return tokens a second of both sides, and the ratio of each round."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "batches.npz"
        tokens = _write_batches(arguments.corpora, file)
        sides = {backend: _start(backend, file, arguments.precision) for backend in BACKENDS}
        first = {backend: json.loads(_line(side)) for backend, side in sides.items()}
        seconds: dict[str, list[float]] = {backend: [] for backend in BACKENDS}
        for number in range(arguments.rounds):
            for backend in BACKENDS if number % 2 == 0 else BACKENDS[::-1]:
                seconds[backend].append(_round(sides[backend]))
        for side in sides.values():
            side.communicate()
    ratios = [ours / jax for ours, jax in zip(seconds["tensorflow"], seconds["jax"], strict=True)]
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "precision": arguments.precision,
        "tokens_of_a_round": tokens,
        "first_pass": first,
        "tokens_per_s": {backend: round(tokens / statistics.median(times)) for backend, times in seconds.items()},
        "jax_to_tensorflow": statistics.quantiles(ratios, n=4),
    }


def _write_batches(corpora: Path, file: Path) -> int:
    """Write the batches of a round; return their real tokens."""
    import sentencepiece

    from softprompt_tf.backbones.bundled import bundled_directory
    from softprompt_tf.pretraining import Mixture, PassageSource, PretrainingBatches, load_corpora

    texts = [(path.name.split(".")[0], path) for path in sorted(corpora.glob("*.txt*"))]
    corpus, _ = load_corpora(texts, max_documents=3_000)
    vocabulary = next(bundled_directory("mini").rglob("*.spm"))
    batches = PretrainingBatches(
        PassageSource(corpus, dict.fromkeys(corpus.kinds, 1.0)),
        sentencepiece.SentencePieceProcessor(model_proto=vocabulary.read_bytes()),
        Mixture(span_corruption=1, prefix_lm=1, instructions=1),
        first_sentinel=8191,
        seed=1,
    )
    chosen: dict[str, list[dict[str, np.ndarray]]] = defaultdict(list)
    for _, objective, batch in batches.prefetch(0, 60):
        if len(chosen[objective]) < BATCHES_OF_EACH:
            chosen[objective].append(batch)
    flat = [batch for drawn in chosen.values() for batch in drawn]
    np.savez(file, **{f"{k}/{name}": values for k, batch in enumerate(flat) for name, values in batch.items()})
    return sum(int(np.count_nonzero(batch[name])) for batch in flat for name in ("encoder_token_ids", "targets"))


def _start(backend: str, file: Path, precision: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.pretraining_backends", str(file), "--precision", precision, "--worker"]
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _line(side: subprocess.Popen[str]) -> str:
    assert side.stdout is not None
    for line in side.stdout:
        if line.startswith(("{", "=")):
            return line
    raise SystemExit("A side ended before its time; its messages are above.")


def _round(side: subprocess.Popen[str]) -> float:
    assert side.stdin is not None
    side.stdin.write("go\n")
    side.stdin.flush()
    return float(_line(side)[1:])


# === A side ===


def work(file: Path, precision: str) -> None:
    """Prepare, report the first pass, then take a round of steps for each line of the input."""
    from softprompt_tf import load_t5
    from softprompt_tf.pretraining import Pretrainer, PretrainingRun

    batches: dict[int, dict[str, np.ndarray]] = defaultdict(dict)
    with np.load(file) as stored:
        for key in stored.files:
            number, _, name = key.partition("/")
            batches[int(number)][name] = stored[key]
    run = PretrainingRun(steps=10**6, precision=precision)
    with tempfile.TemporaryDirectory() as directory:
        trainer = Pretrainer(load_t5("mini").backbone, run, directory)
        losses = [trainer.take_step.loss(batch) for batch in batches.values()]
        seconds = _pass(trainer, list(batches.values()))
        print(json.dumps({"seconds": seconds, "losses_before": [round(loss, 3) for loss in losses]}), flush=True)
        for _ in sys.stdin:
            print(f"={_pass(trainer, list(batches.values()))}", flush=True)


def _pass(trainer: Any, batches: list[dict[str, np.ndarray]]) -> float:
    started = time.perf_counter()
    losses = [trainer.take_step(batch, RATE) for batch in batches]
    for loss in losses:  # under JAX a step may still be on its way
        float(loss)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
