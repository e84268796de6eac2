"""What a vote costs: B texts asked of an ensemble of five prompts beside a batch of 5 B texts asked of one prompt.

    python -m benchmarks.ensemble_cost [--backbone mini] [--rounds 30] [--output DIR]
    python -m benchmarks.measured_tables --take ensemble_cost DIR

In Python (`PromptEnsemble`) and in a written export. Runs are interleaved (A B A B ...); each figure is a median over rounds, each
ratio the median of the rounds' ratios, with the quartiles beside it. Nothing is trained: random prompts cost what trained ones do.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf

import softprompt_tf as sp
from benchmarks.conditions import conditions, load
from benchmarks.measured_tables.serving import ENSEMBLE_COST
from benchmarks.served_batch import interleaved
from softprompt_tf.evaluation.ensemble import PromptEnsemble
from softprompt_tf.export import write_saved_model

MEMBERS = 5
ROWS = 8
LENGTH = 20
LABELS = ("yes", "no")
Call = Callable[[], object]
TEXT = "A sentence of some twenty words that says nothing much, so that every row of a batch has the same length."


def main() -> None:
    """Time both sides in both places, and write the seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="mini")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--output", type=Path, default=Path("runs/ensemble_cost"), help="the directory of the figures")
    arguments = parser.parse_args()
    load_before = load()
    t5 = sp.load_t5(arguments.backbone)
    with tempfile.TemporaryDirectory() as directory:
        pairs = calls(t5, Path(directory))
        seconds = {
            name: interleaved({"ensemble": vote, "batch": single}, arguments.rounds, uncounted=2)
            for name, (vote, single) in pairs.items()
        }
    figures = {"backbone": arguments.backbone, "rounds": arguments.rounds, "members": MEMBERS, "rows": ROWS}
    ENSEMBLE_COST.write(arguments.output, {**conditions(load_before), **figures, "seconds": seconds})


def calls(t5: sp.FrozenT5, directory: Path) -> dict[str, tuple[Call, Call]]:
    """Return "place, call" -> an ensemble asked for few texts, and one prompt asked for as many rows."""
    models = [sp.PromptedT5(t5, sp.prompt_tuning(LENGTH, seed=k), labels=LABELS) for k in range(MEMBERS)]
    prompts = [model.task_prompt("task") for model in models]
    few, many = [TEXT] * ROWS, [TEXT] * (ROWS * MEMBERS)
    ensemble = PromptEnsemble(t5, prompts)
    found: dict[str, tuple[Call, Call]] = {}
    for name in ("classify", "generate_scored"):
        vote, single = getattr(ensemble, name), getattr(models[0], name)
        found[f"Python, {name}"] = (partial(vote, few), partial(single, many))
    version = write_saved_model(directory / "bench", t5, {"one": prompts[0], "five": prompts}, verify=False)
    signatures = tf.saved_model.load(str(version)).signatures
    for name in ("classify", "serving_default"):
        asked = [
            partial(signatures[name], task_id=tf.constant([task] * len(texts)), text=tf.constant(texts))
            for task, texts in (("five", few), ("one", many))
        ]
        found[f"export, {name}"] = (asked[0], asked[1])
    return found


if __name__ == "__main__":
    main()
