"""What does a training step cost by the encoder layer where a prompt enters? Steps of the bundled T5, layer by layer, by turns.

    python -m benchmarks.late_seconds --data DIR --output runs/late_seconds
    python -m benchmarks.measured_tables --take late_seconds runs/late_seconds

DIR holds topic/trec, topic/ag_news and glue/sst2. Each layer trains on the same batches of 32 rows: prompts in front from tokens,
later ones from states in memory. A round runs some steps of each layer; ratios are taken round by round. Encoding is timed apart,
over all rows, after a first batch of texts that traces the graph.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import softprompt_tf as sp
from benchmarks.conditions import conditions, load
from benchmarks.measured_tables.late_seconds import KEPT, LAYERS
from benchmarks.prompt_steps import compiled, step_of
from softprompt_tf.states.state_batches import StateBatchStream
from softprompt_tf.tasks import BatchStream, TokenizedExamples, load_task, tokenize_examples

TASKS = ("trec", "ag_news", "glue_sst2")
CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "tasks"
LENGTH, BATCH, WARM_UP = 20, 32, 32  # vectors, rows, steps: the first steps meet new shapes
MOST_TARGETS = 8  # tokens; no label of these tasks has more


def main() -> None:
    """Measure the tasks one after the other and write late_seconds.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("runs/late_seconds"))
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=8, help="of each layer in a round")
    arguments = parser.parse_args()
    os.environ["SOFTPROMPT_DATA"] = str(arguments.data.resolve())
    load_before = load()
    tasks = [_measured(sp.load_t5("mini"), name, arguments) for name in TASKS]
    figures = {**conditions(load_before), "rounds": arguments.rounds, "steps": arguments.steps, "tasks": tasks}
    KEPT.write(arguments.output, figures)


def _measured(t5: sp.FrozenT5, name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    task = load_task(CONFIGS / f"{name}.yaml")
    examples = task.examples("train")[: arguments.rows]
    tokens = tokenize_examples(
        examples, t5.tokenize, max_input_tokens=task.max_input_tokens, max_target_tokens=MOST_TARGETS
    )
    order = BatchStream(tokens, batch_size=BATCH, seed=1)
    steps: dict[str, Callable[[], float]] = {}
    encoding: dict[str, float] = {}
    for layer in map(str, LAYERS):
        model = compiled(t5, sp.late_prompts(LENGTH, layer=int(layer) if layer.isdigit() else layer, seed=1), 1.0)
        batches: Any = order
        if layer != "0":
            batches, encoding[layer] = _on_states(model, order, tokens)
        steps[layer] = step_of(model, batches)
    for step in steps.values():
        _seconds(step, WARM_UP)
    rounds = []
    for number in range(arguments.rounds):
        rounds.append({layer: _seconds(step, arguments.steps) for layer, step in steps.items()})
        print(f"{name}: round {number + 1} of {arguments.rounds}")
    return {
        "task": name,
        "rows": len(examples),
        "tokens": sum(map(len, tokens.encoder_token_ids)),
        "encoding_s": encoding,
        "rounds_s": rounds,
    }


def _on_states(model: sp.PromptedT5, order: BatchStream, tokens: TokenizedExamples) -> tuple[StateBatchStream, float]:
    """Return the batches with states beside the tokens, and the seconds that their encoding took."""
    cache = model.state_cache()
    cache.of(tokens.encoder_token_ids[:BATCH])
    started = time.perf_counter()
    states = cache.of(tokens.encoder_token_ids)
    seconds = time.perf_counter() - started
    assert states is not None
    return StateBatchStream(order, states), seconds


def _seconds(step: Callable[[], float], count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - started) / count


if __name__ == "__main__":
    main()
