"""Train `mini` on for some minutes on an accelerator: `python -m benchmarks.accelerator.pretrain_mini CORPORA OUTPUT --minutes 5`.

It runs under KERAS_BACKEND=jax, from the bundled weights, on the mixture of mini's card. The CPU cores make the batches ahead.
Every minute the weights lie in OUTPUT, in files that are read back by `benchmarks.accelerator.read_back`.
"""

import argparse
import itertools
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece

from benchmarks.accelerator.timed_run import NO_END, TimedBatches
from benchmarks.accelerator.weight_parts import write_parts
from softprompt_tf.pretraining import Mixture, PassageSource, PretrainingBatches, load_corpora
from softprompt_tf.pretraining.parallel_batches import ParallelBatches

KIND_WEIGHTS = {"article": 1.5, "speech": 0.15}
NUM_SENTINELS_ROW = 8191  # the row of sentinel 0 in mini's table
_SHAPES_FROM = 512  # batches whose shapes are compiled before the first step; of 128, five shapes of 23 were missing


def main() -> None:
    """Train, and write weights, log and summary."""
    begun = time.monotonic()
    arguments = _arguments()
    arguments.output.mkdir(parents=True, exist_ok=True)
    train, _ = load_corpora(
        [(kind, path) for kind, path in _texts(arguments.corpora)], max_documents=arguments.max_documents
    )
    print(f"{train.num_documents:,} documents after {time.monotonic() - begun:.0f} s", flush=True)
    batches = _batches(train, arguments)
    with ParallelBatches(batches, processes=arguments.processes) as parallel:
        trainer = _trainer(arguments)
        begun_batches = _BegunBatches(parallel)
        _compile(trainer, begun_batches.first, arguments.threads)
        print(f"compiled after {time.monotonic() - begun:.0f} s", flush=True)
        timed = TimedBatches(begun_batches, trainer, deadline=begun + 60 * arguments.minutes)
        started = time.monotonic()
        trainer.fit(timed, held_out={})
        _write_summary(arguments.output, trainer, seconds=time.monotonic() - started)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", type=Path, help="what carry_corpora wrote")
    parser.add_argument("output", type=Path, help="the directory that is sent back")
    parser.add_argument("--minutes", type=float, default=5.0, help="from the start of this program to its last step")
    parser.add_argument(
        "--rows", type=int, default=256, help="windows of a batch; a batch of tasks has twice as many rows"
    )
    parser.add_argument("--rate", type=float, default=0.02, help="the peak learning rate")
    parser.add_argument("--seed", type=int, default=4, help="of the batches")
    parser.add_argument("--precision", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 2) - 2), help="that make batches")
    parser.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 2) // 2), help="that compile")
    parser.add_argument(
        "--input-multiple", type=int, default=32, help="what input lengths are rounded up to multiples of"
    )
    parser.add_argument(
        "--target-multiple", type=int, default=16, help="the same of target lengths; more is fewer shapes to compile"
    )
    parser.add_argument("--max-documents", type=int, default=None, help="of each text")
    return parser.parse_args()


def _texts(corpora: Path) -> list[tuple[str, Path]]:
    return [(path.name.split(".")[0], path) for path in sorted(corpora.glob("*.txt.xz"))]


def _batches(corpus: Any, arguments: argparse.Namespace) -> PretrainingBatches:
    from softprompt_tf.backbones.bundled import bundled_directory

    vocabulary = next(bundled_directory("mini").rglob("*.spm"))
    mixture = Mixture(
        span_corruption=0.05, prefix_lm=0.25, instructions=0.7, rows=arguments.rows, instruction_rows=2 * arguments.rows
    )
    return PretrainingBatches(
        PassageSource(corpus, {kind: weight for kind, weight in KIND_WEIGHTS.items() if kind in corpus.kinds}),
        sentencepiece.SentencePieceProcessor(model_proto=vocabulary.read_bytes()),
        mixture,
        first_sentinel=NUM_SENTINELS_ROW,
        seed=arguments.seed,
        input_multiple=arguments.input_multiple,
        target_multiple=arguments.target_multiple,
    )


def _trainer(arguments: argparse.Namespace) -> Any:
    from softprompt_tf import load_t5
    from softprompt_tf.pretraining import Pretrainer, PretrainingRun

    run = PretrainingRun(
        steps=10**8,
        peak_learning_rate=arguments.rate,
        cooldown_steps=1,
        checkpoint_every=2000,
        log_every=100,
        measure_every=10**8,
        precision=arguments.precision,
    )

    def keep(trainer: Any) -> None:
        import keras

        weights = [np.asarray(keras.ops.convert_to_numpy(weight)) for weight in trainer.backbone.weights]
        metadata = {"step": str(trainer.step), "num_tokens": str(trainer.num_tokens)}
        write_parts(weights, arguments.output, metadata=metadata)
        shutil.copy(trainer.directory / "log.jsonl", arguments.output / "pretrain_log.jsonl")

    directory = Path(tempfile.mkdtemp())  # the state, with the optimizer's, is not sent back
    return Pretrainer(load_t5("mini").backbone, run, directory, on_checkpoint=keep)


class _BegunBatches:
    """The batches from step 0 on, of which the first are there already, while the next ones are being made."""

    def __init__(self, batches: ParallelBatches):
        self._stream = batches.prefetch(0, NO_END)
        self.first = list(itertools.islice(self._stream, _SHAPES_FROM))

    def prefetch(self, first_step: int, last_step: int) -> Iterator[tuple[int, str, Any]]:
        return itertools.chain(self.first, self._stream)


def _compile(trainer: Any, batches: Sequence[tuple[int, str, Any]], threads: int) -> None:
    """Compile the step for the shapes of the first batches, several at a time."""
    shapes = [(*batch["encoder_token_ids"].shape, batch["targets"].shape[1]) for _, _, batch in batches]
    print(f"{len(set(shapes))} shapes", flush=True)
    if hasattr(trainer.take_step, "compile_for"):
        trainer.take_step.compile_for(shapes, threads=threads)


def _write_summary(output: Path, trainer: Any, *, seconds: float) -> None:
    import keras

    device = ""
    if keras.backend.backend() == "jax":
        import jax

        device = jax.devices()[0].device_kind
    summary = {
        "device": device,
        "keras_backend": keras.backend.backend(),
        "python": sys.version.split()[0],
        "seconds": round(seconds, 1),
        "steps": trainer.step,
        "tokens": trainer.num_tokens,
        "tokens_per_s": round(trainer.num_tokens / seconds),
    }
    (output / "pretrain_summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(summary), flush=True)


if __name__ == "__main__":
    main()
