"""What does it bring that a served batch is encoded in groups of alike length? Several mixtures of lengths, grouped or not.

    python -m benchmarks.length_groups [--backbone mini] [--rounds 15] [--output DIR]
    python -m benchmarks.measured_tables --take length_groups DIR

Two exports of one backbone differ in the grouping alone. `classify` of 16 rows runs in both by turns; each figure is a median
over rounds, each ratio the median of the rounds' ratios, with the quartiles beside it. Lengths are those of the texts, in
tokens.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

import softprompt_tf as sp
from benchmarks.conditions import conditions, load
from benchmarks.measured_tables.serving import LENGTH_GROUPS
from softprompt_tf.export import write_saved_model
from softprompt_tf.export.graph import length_groups

BATCHES = {
    "all 64": [64] * 16,
    "all 256": [256] * 16,
    "8 of 16, 8 of 256": [16] * 8 + [256] * 8,
    "15 of 16, one of 512": [16] * 15 + [512],
    "1 to 512, evenly": np.linspace(1, 512, 16).astype(int).tolist(),
    "16 to 64, evenly": np.linspace(16, 64, 16).astype(int).tolist(),
}
WORD = " the"


def main() -> None:
    """Write both exports, time them by turns, print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="mini")
    parser.add_argument("--vocabulary", type=Path, help="a SentencePiece file, for a backbone that has none beside it")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path, default=Path("runs/length_groups"), help="the directory of the figures")
    arguments = parser.parse_args()
    load_before = load()
    t5 = sp.load_t5(arguments.backbone, vocabulary=arguments.vocabulary)
    with tempfile.TemporaryDirectory() as directory:
        grouped = _export(t5, Path(directory) / "grouped")
        with mock.patch.object(length_groups, "rows_of_group", lambda widths: tf.shape(widths)[0]):
            whole = _export(t5, Path(directory) / "whole")
        seconds = _measure(t5, {"grouped": grouped, "whole": whole}, arguments.rounds)
    figures = {"backbone": arguments.backbone, "rounds": arguments.rounds, "seconds": seconds}
    LENGTH_GROUPS.write(arguments.output, {**conditions(load_before), **figures})


def _export(t5: sp.FrozenT5, directory: Path) -> Callable[..., object]:
    prompt = sp.PromptedT5(t5, sp.prompt_tuning(20, seed=1), labels=("yes", "no")).task_prompt("task")
    version = write_saved_model(directory, t5, {"task": prompt}, verify=False)
    loaded = tf.saved_model.load(str(version))
    signature = loaded.signatures["classify"]
    signature.keeps = loaded  # its variables live as long as it
    return signature


def _measure(
    t5: sp.FrozenT5, exports: dict[str, Callable[..., object]], rounds: int
) -> dict[str, dict[str, list[float]]]:
    seconds: dict[str, dict[str, list[float]]] = {}
    for name, lengths in BATCHES.items():
        batch = {"task_id": tf.constant(["task"] * len(lengths)), "text": tf.constant(_texts(t5, lengths))}
        times: dict[str, list[float]] = {kind: [] for kind in exports}
        for number in range(-2, rounds):
            for kind, classify in exports.items():
                start = time.perf_counter()
                classify(**batch)
                if number >= 0:
                    times[kind].append(time.perf_counter() - start)
        seconds[name] = times
    return seconds


def _texts(t5: sp.FrozenT5, lengths: Sequence[int]) -> list[str]:
    """Return texts of so many tokens, the end of sequence included."""
    texts = [WORD.strip() + WORD * (length - 2) if length > 1 else "" for length in lengths]
    if (found := [len(ids) + 1 for ids in t5.tokenize(texts)]) != list(lengths):
        raise SystemExit(f"Texts must have the lengths {list(lengths)}. Received: {found}.")
    return texts


if __name__ == "__main__":
    main()
