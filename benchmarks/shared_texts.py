"""What many tasks cost that are asked of the same texts, and what looking for equal texts costs where there are none.

    python -m benchmarks.shared_texts [--shape small] [--rounds 10] [--tasks 1 8 40] [--json FILE]

One frozen T5 of T5 1.1 Small's shape with seeded weights is exported twice: with 40 tasks whose prompts stand in front, and with
these and 40 whose rows stand behind the encoder. `classify` is asked for 16 texts of about 128 tokens by so many tasks each.
Then 16 different texts are asked of prompts in front in both exports: what the second costs more is the search for equal texts.
Rounds are interleaved; each ratio is the median of the rounds' ratios, with the quartiles beside it. Nothing is trained: drawn
rows cost what trained ones cost.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

import softprompt_tf as sp
from benchmarks.served_batch import interleaved
from benchmarks.speed.inputs import SHAPES, write_model
from softprompt_tf.export import write_saved_model
from softprompt_tf.methods import TaskPrompt

TEXTS, TOKENS, ROWS = 16, 128, 20
VOCABULARY = next(Path(sp.__file__).parent.glob("backbones/bundled/mini/**/*.spm"))
Times = dict[str, list[float]]


def main() -> None:
    """Write the exports, time every kind of request, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="small", choices=sorted(SHAPES))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--tasks", type=int, nargs="+", default=[1, 8, 40])
    parser.add_argument("--json", type=Path, help="where the seconds of each kind of request are written too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        write_model(Path(directory) / "t5", SHAPES[arguments.shape])
        t5 = sp.load_t5(Path(directory) / "t5", vocabulary=VOCABULARY)
        front = tasks_of(t5, "prompt", max(arguments.tasks))
        behind = tasks_of(t5, "prompt_behind_encoder", max(arguments.tasks))
        exports = {"plain": front, "both": {**front, **behind}}
        signatures = {
            name: tf.saved_model.load(
                str(write_saved_model(Path(directory) / name, t5, tasks, verify=False))
            ).signatures["classify"]
            for name, tasks in exports.items()
        }
        times = interleaved(requests(t5, signatures, arguments.tasks), arguments.rounds, uncounted=1)
    report(times, arguments.tasks, arguments.shape)
    if arguments.json:
        arguments.json.write_text(json.dumps(times), encoding="utf-8")


def tasks_of(t5: sp.FrozenT5, tensor: str, count: int) -> dict[str, TaskPrompt]:
    """Return tasks of drawn rows, called by their tensor and a number."""
    rng = np.random.default_rng(1)
    known = {"backbone": t5.name, "backbone_fingerprint": t5.fingerprint, "labels": ("yes", "no")}
    return {
        f"{tensor}_{k}": TaskPrompt(
            tensors={tensor: rng.normal(size=(ROWS, t5.hidden_dim)).astype(np.float32)},
            method="prompt_tuning" if tensor == "prompt" else "late_prompts",
            tokenizer_fingerprint=t5.tokenizer_fingerprint,
            **known,
        )
        for k in range(count)
    }


def requests(t5: sp.FrozenT5, signatures: dict, counts: list[int]) -> dict[str, Callable[[], object]]:
    """Return every kind of request by name."""
    texts = drawn_texts(t5)

    def asked(signature: Callable[..., object], kind: str, count: int) -> Callable[[], object]:
        ids = [f"{kind}_{k}" for k in range(count)] * len(texts)
        rows = [text for text in texts for _ in range(count)]
        return partial(signature, task_id=tf.constant(ids), text=tf.constant(rows))

    kinds = {
        f"{place}, {count}": asked(signatures["both"], tensor, count)
        for place, tensor in (("behind", "prompt_behind_encoder"), ("front", "prompt"))
        for count in counts
    }
    return {**kinds, "front, 1, plain": asked(signatures["plain"], "prompt", 1)}


def drawn_texts(t5: sp.FrozenT5) -> list[str]:
    """Return different texts of about `TOKENS` tokens each."""
    rng = np.random.default_rng(2)
    pieces = [str(t5.tokenizer.id_to_token(int(k))).replace("\u2581", "") for k in range(100, 2000)]
    words = [piece for piece in pieces if len(piece) > 2 and piece.isalpha()]
    texts = []
    for _ in range(TEXTS):
        chosen = [str(word) for word in rng.choice(words, TOKENS)]
        while len(t5.tokenize([" ".join(chosen)])[0]) >= TOKENS:
            chosen.pop()
        texts.append(" ".join(chosen))
    return texts


def report(times: Times, counts: list[int], shape: str) -> None:
    """Print medians and ratios as Markdown."""
    processor = platform.processor() or platform.machine()
    print(
        f"T5 of the shape {shape}, {TEXTS} texts of {TOKENS} tokens; {processor}, {os.cpu_count()} cores, TF {tf.__version__}\n"
    )
    print("| tasks of each text | rows | behind the encoder | beside one task | in front | beside one task |")
    print("|---|---|---|---|---|---|")
    for count in counts:
        cells = [f"| {count} | {count * TEXTS} "]
        for place in ("behind", "front"):
            seconds = times[f"{place}, {count}"]
            cells.append(
                f"| {1e3 * statistics.median(seconds):.0f} ms | {ratio(seconds, times[f'{place}, {counts[0]}'])} "
            )
        print("".join(cells) + "|")
    print(f"\n16 texts of their own, in front, both / plain: {ratio(times['front, 1'], times['front, 1, plain'])}")


def ratio(above: list[float], below: list[float]) -> str:
    """Return the median of the rounds' ratios, with the quartiles."""
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
