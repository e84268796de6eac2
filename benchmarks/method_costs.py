"""What each method costs: a training step, a task's file, and 16 rows served, alone and mixed with other methods.

    python -m benchmarks.method_costs DIR/method_costs.json [--rounds 15] [--methods NAME ...]
    python -m benchmarks.measured_tables --take method_costs DIR

`mini`, 32 rows of 32 tokens per step, with the settings of configs/experiments/method_family.yaml. Two more prompts have rows among
the tokens, or rows that see less. Five prompts of one task vote, or answer as a mixture: they have no step of their own. Every kind
of step, and every kind of request, runs once in each round; a figure is the median over rounds, a ratio the median of the rounds'
ratios with its quartiles. Requests are direct calls of `classify` of three exports: one of a task of every method, one of prompts
alone, and one of tasks with five prompts. Nothing is trained: first values cost what trained ones cost.
"""

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

import softprompt_tf as sp
from benchmarks.served_batch import interleaved
from benchmarks.speed.machine import processor
from softprompt_tf.experiments.settings import read_sweep
from softprompt_tf.export import write_saved_model
from softprompt_tf.methods import METHODS, TaskPrompt, with_weight, write_prompt
from softprompt_tf.methods.family.method_config import TaskStart
from softprompt_tf.prompt_places import IN_TEXT_ID
from softprompt_tf.states.state_batches import StateBatchStream
from softprompt_tf.tasks import BatchStream, TokenizedExamples

FAMILY = Path(__file__).resolve().parents[1] / "configs" / "experiments" / "method_family.yaml"
PLAIN = "prompt_tuning"
MARKED = "prompt_tuning, marked"
_ROWS = {"method": PLAIN, "length": 20, "init": "class_labels"}
VARIANTS = {MARKED: {**_ROWS, "position": "marked"}, "prompt_tuning, sees prompt": {**_ROWS, "sees": "prompt"}}
TEMPLATE = "{prompt:10} {text} {prompt:10}"  # of the marked one
GROUPS = {"vote of 5": (None,) * 5, "mixture of 5": (0.4, 0.3, 0.1, 0.1, 0.1)}  # the members' weights
MIXED = (PLAIN, "p_tuning_v2", "late_prompts", "lora", "adapters")
ROWS, TOKENS, TARGETS, SERVED_ROWS = 32, 32, 3, 16
LABELS = ("yes", "no")
TEXT = "A sentence of some twenty words that says nothing much, so that every row of a batch has the same length."
Kinds = Mapping[str, Callable[[], object]]


def main() -> None:
    """Measure, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--methods", nargs="+", help="default: all")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    t5 = sp.load_t5("mini")
    models = {name: sp.PromptedT5(t5, method, labels=LABELS) for name, method in _methods(arguments.methods).items()}
    tasks: dict[str, list[TaskPrompt]] = {name: [_task(name, model)] for name, model in models.items()}
    tasks |= {name: _members(t5, name) for name in GROUPS if name in (arguments.methods or GROUPS)}
    steps = interleaved(_steps(models), arguments.rounds)
    with tempfile.TemporaryDirectory() as directory:
        sizes = {name: _size(members, Path(directory) / "task.safetensors") for name, members in tasks.items()}
        requests = interleaved(_requests(t5, tasks, Path(directory)), arguments.rounds)
    result = {
        "machine": {"processor": processor(), "cores": os.cpu_count(), "tensorflow": tf.__version__},
        "load": [load, os.getloadavg()[0]],
        "rounds": arguments.rounds,
        "file_bytes": sizes,
        "step": _figures(steps, PLAIN),
        "served": _figures(requests, f"{PLAIN}, alone"),
    }
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


def _methods(names: Sequence[str] | None) -> dict[str, Any]:
    sections = {name: experiment.prompt for name, experiment in read_sweep(FAMILY).items()}
    sections |= {name: METHODS[PLAIN].config(**values) for name, values in VARIANTS.items()}
    chosen = sections if names is None else {name: sections[name] for name in names if name not in GROUPS}
    start = TaskStart("task", LABELS)
    return {name: section.make([start], seed=1) for name, section in chosen.items()}


def _task(name: str, model: sp.PromptedT5) -> TaskPrompt:
    return model.task_prompt(name, **{"template": TEMPLATE} if name == MARKED else {})


def _members(t5: sp.FrozenT5, name: str) -> list[TaskPrompt]:
    """Return the prompts of one task, with weights where they answer as a mixture."""

    def member(seed: int) -> TaskPrompt:
        return sp.PromptedT5(t5, sp.prompt_tuning(20, seed=seed), labels=LABELS).task_prompt(name)

    return [with_weight(member(seed), weight) for seed, weight in enumerate(GROUPS[name])]


# === What is timed ===


def _steps(models: Mapping[str, sp.PromptedT5]) -> Kinds:
    rng = np.random.default_rng(1)
    inputs = tuple(rng.integers(3, 8000, (ROWS, TOKENS)).astype(np.int32))
    own_inputs = {
        MARKED: tuple(np.insert(row, [0] * 10 + [TOKENS] * 10, IN_TEXT_ID) for row in inputs)
    }  # as in TEMPLATE
    words = tuple(rng.integers(3, 8000, (ROWS, TARGETS)).astype(np.int32))
    labels = tuple(rng.integers(1, 1 + len(LABELS), (ROWS, 1)).astype(np.int32))
    own_targets, tasks = {"warp": labels}, np.zeros(ROWS, np.int32)  # which has rows of labels
    tokens = {
        name: TokenizedExamples(own_inputs.get(name, inputs), own_targets.get(name, words), tasks) for name in models
    }
    return {name: _step(name, model, tokens[name]) for name, model in models.items()}


def _step(name: str, model: sp.PromptedT5, tokens: TokenizedExamples) -> Callable[[], object]:
    model.compile(optimizer=sp.Adafactor(0.3), loss=sp.TargetCrossEntropy())
    order: Any = BatchStream(tokens, batch_size=ROWS, seed=1)
    if name == "late_prompts":  # as `softprompt train` does
        order = StateBatchStream(order, model.state_cache().of(tokens.encoder_token_ids))
    model.make_train_function()
    iterator = iter(order.dataset(first_step=0))
    return lambda: float(model.train_function(iterator)["loss"])


def _requests(t5: sp.FrozenT5, tasks: Mapping[str, list[TaskPrompt]], directory: Path) -> Kinds:
    single = {name: members[0] for name, members in tasks.items() if name not in GROUPS}
    several = {name: members for name, members in tasks.items() if name in GROUPS}
    exports = {"mixed": single, "plain": {PLAIN: single[PLAIN]}, "groups": several}
    asks = {name: _classify_of(t5, each, directory / name) for name, each in exports.items() if each}
    kinds = {f"{name}, alone": partial(_ask, asks["mixed"], [name] * SERVED_ROWS) for name in single}
    kinds |= {f"{name}, alone": partial(_ask, asks["groups"], [name] * SERVED_ROWS) for name in several}
    if five := [name for name in MIXED if name in tasks]:
        ids = [five[place % len(five)] for place in range(SERVED_ROWS)]
        kinds["methods mixed"] = partial(_ask, asks["mixed"], ids)
    kinds["export of prompts alone"] = partial(_ask, asks["plain"], [PLAIN] * SERVED_ROWS)
    return kinds


def _classify_of(t5: sp.FrozenT5, tasks: Mapping[str, Any], directory: Path) -> Callable[..., object]:
    version = write_saved_model(directory, t5, tasks, verify=False)
    return tf.saved_model.load(str(version)).signatures["classify"]


def _ask(signature: Callable[..., object], task_ids: Sequence[str]) -> object:
    texts = [f"{TEXT} {place}" for place in range(SERVED_ROWS)]  # no two are equal, so that none is encoded for two
    return signature(task_id=tf.constant(list(task_ids)), text=tf.constant(texts))


def _size(members: Sequence[TaskPrompt], path: Path) -> int:
    return sum(write_prompt(path, member).stat().st_size for member in members)


# === Figures ===


def _figures(seconds: Mapping[str, list[float]], reference: str) -> dict[str, dict[str, float]]:
    return {name: _figure(own, seconds.get(reference, own)) for name, own in seconds.items()}


def _figure(own: list[float], reference: list[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles([a / b for a, b in zip(own, reference, strict=True)], n=4)
    figure = {"seconds": statistics.median(own), "ratio": middle, "low": low, "high": high}
    return {name: round(value, 4) for name, value in figure.items()}


if __name__ == "__main__":
    main()
