"""What many tasks cost that are asked of the same texts, and what looking for equal texts costs where there are none.

    python -m benchmarks.shared_texts DIR/shared_texts.json [--shape small] [--rounds 10] [--tasks 1 8 40] [--kinds adapters front]
    python -m benchmarks.shared_texts DIR/shared_answers.json --written 16 --kinds behind adapters
    python -m benchmarks.measured_tables --take shared_texts DIR

One frozen T5 of T5 1.1 Small's shape with seeded weights is exported twice: with 40 tasks whose prompts stand in front, and with
these, 40 whose rows stand behind the encoder, and 40 with adapters in the decoder. `classify` is asked for 16 texts of about 128
tokens by so many tasks each. Then 16 different texts are asked of prompts in front in both exports: what the second costs more
is the search for equal texts. Rounds are interleaved; each ratio is the median of the rounds' ratios, with the quartiles in
brackets. Nothing is trained: first values cost what trained ones cost. `--written` asks for answers of so many tokens instead
of labels: a T5 of drawn weights ends none sooner.
"""

import argparse
import dataclasses
import json
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

import softprompt_tf as sp
from benchmarks.conditions import conditions, load
from benchmarks.measured_tables.shared_texts import KINDS, table_of
from benchmarks.served_batch import interleaved
from benchmarks.speed.inputs import SHAPES, write_model
from softprompt_tf.export import write_saved_model
from softprompt_tf.methods import TaskPrompt

TEXTS, TOKENS, ROWS, BOTTLENECK_DIM = 16, 128, 20, 16
VOCABULARY = next(Path(sp.__file__).parent.glob("backbones/bundled/mini/**/*.spm"))


def main() -> None:
    """Write the exports, time every kind of request, keep the seconds and print their table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="the file of the figures")
    parser.add_argument("--shape", default="small", choices=sorted(SHAPES))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--tasks", type=int, nargs="+", default=[1, 8, 40])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS, help="of tasks that are asked")
    parser.add_argument("--written", type=int, metavar="TOKENS", help="ask for answers that are written")
    arguments = parser.parse_args()
    load_before = load()
    with tempfile.TemporaryDirectory() as directory:
        write_model(Path(directory) / "t5", SHAPES[arguments.shape])
        t5 = sp.load_t5(Path(directory) / "t5", vocabulary=VOCABULARY)
        count = max(arguments.tasks)
        front = copies("front", drawn_rows(t5, "prompt"), count)
        others = {"behind": drawn_rows(t5, "prompt_behind_encoder"), "adapters": adapters_of(t5)}
        shared = {
            name: task
            for kind in others
            if kind in arguments.kinds
            for name, task in copies(kind, others[kind], count).items()
        }
        if arguments.written:
            front, shared = (writing(tasks, arguments.written) for tasks in (front, shared))
        exports = {"plain": front, "both": {**front, **shared}}
        signatures = {
            name: tf.saved_model.load(
                str(write_saved_model(Path(directory) / name, t5, tasks, verify=False))
            ).signatures["serving_default" if arguments.written else "classify"]
            for name, tasks in exports.items()
        }
        kinds = requests(t5, signatures, arguments.kinds, arguments.tasks)
        times = interleaved(kinds, arguments.rounds, uncounted=1)
    result = {
        **conditions(load_before),
        "shape": arguments.shape,
        "texts": TEXTS,
        "tokens": TOKENS,
        "written": arguments.written,
        "kinds": arguments.kinds,
        "tasks": arguments.tasks,
        "seconds": {name: [round(value, 5) for value in values] for name, values in times.items()},
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(table_of(result))


def drawn_rows(t5: sp.FrozenT5, tensor: str) -> TaskPrompt:
    """Return a task of drawn rows."""
    rows = np.random.default_rng(1).normal(size=(ROWS, t5.hidden_dim)).astype(np.float32)
    return TaskPrompt(
        tensors={tensor: rows},
        method="prompt_tuning" if tensor == "prompt" else "late_prompts",
        backbone=t5.name,
        backbone_fingerprint=t5.fingerprint,
        tokenizer_fingerprint=t5.tokenizer_fingerprint,
        labels=("yes", "no"),
    )


def adapters_of(t5: sp.FrozenT5) -> TaskPrompt:
    """Return a task with adapters in the decoder alone."""
    model = sp.PromptedT5(t5, sp.adapters(BOTTLENECK_DIM, encoder=False, seed=1), labels=("yes", "no"))
    return model.task_prompt("adapters")


def copies(kind: str, task: TaskPrompt, count: int) -> dict[str, TaskPrompt]:
    """Return a task so many times, called by its kind and a number."""
    return {f"{kind}_{k}": dataclasses.replace(task, task_id=f"{kind}_{k}") for k in range(count)}


def writing(tasks: dict[str, TaskPrompt], max_tokens: int) -> dict[str, TaskPrompt]:
    """Return tasks whose answers have at most so many tokens."""
    return {name: dataclasses.replace(task, max_target_tokens=max_tokens, labels=()) for name, task in tasks.items()}


def requests(t5: sp.FrozenT5, signatures: dict, kinds: list[str], counts: list[int]) -> dict[str, Callable[[], object]]:
    """Return every kind of request by name."""
    texts = drawn_texts(t5)

    def asked(signature: Callable[..., object], kind: str, count: int) -> Callable[[], object]:
        ids = [f"{kind}_{k}" for k in range(count)] * len(texts)
        rows = [text for text in texts for _ in range(count)]
        return partial(signature, task_id=tf.constant(ids), text=tf.constant(rows))

    found = {f"{kind}, {count}": asked(signatures["both"], kind, count) for kind in kinds for count in counts}
    return {
        **found,
        "front, alone, both": asked(signatures["both"], "front", 1),
        "front, alone, plain": asked(signatures["plain"], "front", 1),
    }


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


if __name__ == "__main__":
    main()
