"""What cached states save: a step behind the encoder beside one in front, a run on SST-2, and three seeds of TREC at once.

    python -m benchmarks.cached_states step [--rounds 15] [--rows 320]
    SOFTPROMPT_SHARED_DATA=data python -m benchmarks.cached_states sst2 [--steps 2000] [--texts 20000]
    SOFTPROMPT_SHARED_DATA=data python -m benchmarks.cached_states seeds [--steps 400] [--states float32]

`step`: the shape of T5 1.1 Small with drawn weights, 16 rows of 128 tokens, targets of 8, prompts of 20 rows. Steps of both kinds
take turns; each figure is the median over rounds, as seconds of the clock and as seconds of all cores (`cpu`), which other
processes move less. The ratio counts the encoding, which is done once for 20 epochs.
`sst2`: `mini`, 20 rows behind the encoder, batches of 32, and the accuracy on the 872 dev rows; encoding, training and
evaluating are timed apart.
`seeds`: `mini`, 20 rows behind the encoder, seeds 1, 2 and 3 of TREC at once and one after the other, with encoding and dev scores.
Prints JSON.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

import softprompt_tf as sp
from benchmarks.prompt_steps import compiled, step_of
from benchmarks.speed import inputs
from benchmarks.speed.machine import processor
from benchmarks.speed.protocol import VOCABULARY
from softprompt_tf.config import RunConfig, load_config
from softprompt_tf.evaluation import evaluate_examples
from softprompt_tf.experiments.prompt_tuner import PromptTuner
from softprompt_tf.experiments.prompts_together import tune_together
from softprompt_tf.experiments.rows import training_data
from softprompt_tf.experiments.settings import Rows
from softprompt_tf.states.state_batches import StateBatchStream
from softprompt_tf.tasks import BatchStream, TokenizedExamples, load_task, tokenize_examples

ROWS, TOKENS, TARGETS, LENGTH, EPOCHS = 16, 128, 8, 20, 20
CONFIGS = Path(__file__).resolve().parents[1] / "configs"
TASK = CONFIGS / "tasks" / "glue_sst2.yaml"


def main() -> None:
    """Measure one of the three and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("step", "sst2", "seeds"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rows", type=int, default=20 * ROWS)
    parser.add_argument("--steps", type=int, help="default: 2,000, of `seeds` 400")
    parser.add_argument("--states", default="auto", choices=("auto", "float16", "bfloat16", "float32"))
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=1.0)
    arguments = parser.parse_args()
    os.environ.setdefault("SOFTPROMPT_DATA", os.environ.get("SOFTPROMPT_SHARED_DATA", "data"))
    load = os.getloadavg()[0]
    arguments.steps = arguments.steps or (400 if arguments.what == "seeds" else 2_000)
    result = {"step": steps, "sst2": sst2, "seeds": seeds}[arguments.what](arguments)
    print(json.dumps({**_machine(), "load_before": load, "load_after": os.getloadavg()[0], **result}, indent=2))


# === A step ===


def steps(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time steps of both kinds in turns, and the encoding."""
    t5 = _small()
    tokens = _tokens(arguments.rows)
    order = BatchStream(tokens, batch_size=ROWS, seed=1)
    front, behind = (compiled(t5, make(LENGTH, seed=1), 0.3) for make in (sp.prompt_tuning, sp.late_prompts))
    cache = behind.state_cache()
    cache.of(tokens.encoder_token_ids[:1])  # traces the encoder's graph
    encoding = _seconds(lambda: cache.of(tokens.encoder_token_ids))
    states = cache.of(tokens.encoder_token_ids)
    assert states is not None
    kinds = {"front": step_of(front, order), "behind": step_of(behind, StateBatchStream(order, states))}
    rounds = [{name: _seconds(step) for name, step in kinds.items()} for _ in range(arguments.rounds + 2)][2:]
    return {"rows": arguments.rows, "encoding": encoding, **_ratios(rounds, encoding, arguments.rows)}


def _ratios(rounds: list[dict[str, dict[str, float]]], encoding: dict[str, float], num_rows: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for clock in ("wall_s", "cpu_s"):
        front, behind = (statistics.median(each[name][clock] for each in rounds) for name in ("front", "behind"))
        share = encoding[clock] * ROWS / num_rows / EPOCHS  # of a step
        result[clock] = {
            "front": front,
            "behind": behind,
            "encoding_per_step": share,
            "ratio": front / (behind + share),
            "ratio_without_encoding": front / behind,
        }
    return result


def _small() -> sp.FrozenT5:
    with tempfile.TemporaryDirectory() as directory:
        inputs.write_model(Path(directory), inputs.SHAPES["small"])
        return sp.load_t5(Path(directory), vocabulary=VOCABULARY)


def _tokens(num_rows: int) -> TokenizedExamples:
    return TokenizedExamples(
        tuple(inputs.source(num_rows, TOKENS).astype(np.int32)),
        tuple(inputs.targets(num_rows, TARGETS).astype(np.int32)),
        np.zeros(num_rows, np.int32),
    )


# === A run ===


def sst2(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train and evaluate, and time the parts."""
    task, t5 = load_task(TASK), sp.load_t5("mini")
    train, dev = _drawn(task.examples("train"), arguments.texts), task.examples("validation")
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, arguments.steps, warmup_target=arguments.learning_rate, warmup_steps=20
    )
    model = compiled(t5, sp.late_prompts(LENGTH, sp.init.class_labels(task.label_words), seed=arguments.seed), rate)
    seconds, started = {}, time.perf_counter()
    tokens = tokenize_examples(
        train, t5.tokenize, max_input_tokens=task.max_input_tokens, max_target_tokens=model.max_target_tokens
    )
    cache = model.state_cache()
    states = cache.of(tokens.encoder_token_ids)
    dev_states = cache.of(model.text_batches.input_ids([example.inputs for example in dev]))
    assert states is not None
    assert dev_states is not None
    seconds["encode"] = time.perf_counter() - started
    batches = StateBatchStream(BatchStream(tokens, batch_size=32, seed=arguments.seed), states)
    started = time.perf_counter()
    sp.train_prompt(model, batches, steps=arguments.steps, seed=arguments.seed)
    seconds["train"] = time.perf_counter() - started
    started = time.perf_counter()
    metrics = evaluate_examples(model.answers_from(dev_states), task, dev).metrics
    seconds["evaluate"] = time.perf_counter() - started
    total = sum(seconds.values())
    return {"steps": arguments.steps, "texts": len(train), "seconds": {**seconds, "all": total}, "dev": metrics}


def _drawn(examples: list[Any], count: int) -> list[Any]:
    chosen = np.random.default_rng(7).permutation(len(examples))[:count]
    return [examples[row] for row in chosen]


# === Three seeds ===


def seeds(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train the seeds at once and one after the other, each kind from an empty cache."""
    kinds = {kind: _seeds(most, arguments) for kind, most in (("together", 3), ("one by one", 1))}
    return {"steps": arguments.steps, "states": arguments.states, **kinds}


def _seeds(most: int, arguments: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as directory:
        configs = [_trec(Path(directory) / str(seed), seed, arguments) for seed in (1, 2, 3)]
        data, tuner = training_data(configs[0].tasks[0], Rows()), PromptTuner(sp.load_t5("mini"))
        dev: list[float] = []

        def run() -> None:
            tune_together(tuner, configs, data, run_digests=["", "", ""], most=most)
            for config in configs:
                _, record = tuner.tune(config, data, run_digest="")
                dev.append(record.metrics["trec"]["accuracy"])

        return {**_seconds(run), "dev": dev}


def _trec(directory: Path, seed: int, arguments: argparse.Namespace) -> RunConfig:
    changes = {
        "prompt.method": "late_prompts",
        "training.steps": arguments.steps,
        "training.evaluate_every": 100,
        "training.cached_states": arguments.states,
        "output_dir": directory,
        "seed": seed,
    }
    return load_config(CONFIGS / "runs" / "trec.yaml", [f"{key}={value}" for key, value in changes.items()])


# === All ===


def _seconds(run: Callable[[], object]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}


def _machine() -> dict[str, Any]:
    versions = {"TensorFlow": tf.__version__, "Keras": keras.__version__, "Python": platform.python_version()}
    return {"processor": processor(), "cores": os.cpu_count(), "versions": versions}


if __name__ == "__main__":
    main()
