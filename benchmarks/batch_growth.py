"""Does a batch that grows within a run reach a better score with the same rows? Small batches, then larger ones.

    SOFTPROMPT_DATA=data python -m benchmarks.batch_growth [--tasks trec sst2] [--seeds 1 2 3] [--output DIR]
    python -m benchmarks.measured_tables --take batch_growth DIR

Adapters in the decoder of `mini` on cached states. Every run takes 6,400 rows; a task has up to 5,000. 500 dev rows are scored
four times, after as many rows in each run.
"""

import argparse
import itertools
import json
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf

import softprompt_tf as sp
from benchmarks.measured_tables.batch_growth import KEPT
from softprompt_tf.config import RunConfig, run_config
from softprompt_tf.evaluation import evaluate_examples
from softprompt_tf.experiments.prompt_tuner import PromptTuner
from softprompt_tf.experiments.rows import find_task, training_data
from softprompt_tf.experiments.settings import Rows, RunSettings
from softprompt_tf.runs.configured import training_batches
from softprompt_tf.runs.run_states import answers_on_states
from softprompt_tf.runs.task_data import TaskData
from softprompt_tf.states.state_batches import StateBatchStream

# Name -> (rows of a batch, batches), in turn.
SIZES: dict[str, list[tuple[int, int]]] = {
    "32": [(32, 200)],
    "16": [(16, 400)],
    "8": [(8, 800)],
    "8, 16, 32": [(8, 200), (16, 100), (32, 100)],
}
ROWS, SCORED_EVERY = 6_400, 1_600
TRAINING = {"optimizer": "adam", "learning_rate": 0.01, "schedule": "cosine"}
PROMPT = {"method": "adapters", "bottleneck_dim": 16, "encoder": False}


class StagedBatches:
    """Batches of one size, then of another.

    Args:
      stages: the batches of each size, and how many of them are taken.
    """

    def __init__(self, stages: list[tuple[Any, int]]):
        self._stages = stages

    def dataset(self, *, first_step: int = 0) -> tf.data.Dataset:
        """Return the dataset of the batches from number `first_step` on."""
        parts = []
        for batches, count in self._stages:
            if first_step < count:
                parts.append(batches.dataset(first_step=first_step).take(count - first_step))
            first_step = max(0, first_step - count)
        joined = parts[0]
        for part in parts[1:]:
            joined = joined.concatenate(part)
        return joined


def main() -> None:
    """Train every kind with every seed, and write the scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=["trec", "sst2"], help="names in configs/tasks")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--output", type=Path, default=Path("runs/batch_growth"), help="the directory of the figures")
    arguments = parser.parse_args()
    tuner, scores = PromptTuner(sp.load_t5("mini")), []
    for task in arguments.tasks:
        data = training_data(find_task(task, RunSettings()), Rows(train=5_000, validation=500))
        for seed, (name, sizes) in itertools.product(arguments.seeds, SIZES.items()):
            found = train(tuner, data, sizes, seed)
            scores.append({"task": data.task.name, "batch": name, "seed": seed, "scores": found})
            print(json.dumps(scores[-1]), flush=True)
    settings = {"rows": ROWS, "scored_every": SCORED_EVERY, "prompt": PROMPT, "training": TRAINING}
    KEPT.write(arguments.output, {**settings, "scores": scores})


def train(tuner: PromptTuner, data: TaskData, sizes: list[tuple[int, int]], seed: int) -> list[float]:
    """Return the dev scores of one run, after each `SCORED_EVERY` rows."""
    steps = sum(count for _, count in sizes)
    with tempfile.TemporaryDirectory() as directory:
        config = _config(data, directory, steps=steps, seed=seed)
        model = tuner.model_of(config, data)
        cache = tuner.states_of(model, config, data)
        assert cache is not None
        stages = []
        for number, (size, count) in enumerate(sizes):
            changed = {
                "training": config.training.model_copy(update={"batch_size": size}),
                "seed": seed + 1_000 * number,
            }
            plain = training_batches(tuner.t5, model, [data], config.model_copy(update=changed))
            states = cache.of(plain.examples.encoder_token_ids)
            assert states is not None
            stages.append((StateBatchStream(plain, states), count))
        answers = answers_on_states(model, cache, data.validation)
        result = sp.train_prompt(
            model,
            StagedBatches(stages),
            steps=steps,
            seed=seed,
            evaluate=lambda: evaluate_examples(answers, data.task, data.validation).metrics,
            evaluate_every=min(SCORED_EVERY // size for size, _ in sizes),
        )
    scored = {rows_after(evaluation.step, sizes): evaluation.score for evaluation in result.history}
    return [scored[rows] for rows in range(SCORED_EVERY, ROWS + 1, SCORED_EVERY)]


def rows_after(step: int, sizes: list[tuple[int, int]]) -> int:
    """Return how many rows a run has taken at a step."""
    rows = 0
    for size, count in sizes:
        rows += size * min(step, count)
        step = max(0, step - count)
    return rows


def _config(data: TaskData, directory: str, *, steps: int, seed: int) -> RunConfig:
    training = {**TRAINING, "steps": steps, "warmup_steps": steps // 10}
    task = {"name": data.task.name, "inputs": data.task.inputs}
    values = {"backbone": "mini", "task": task, "prompt": PROMPT, "training": training, "seed": seed}
    return run_config({**values, "output_dir": directory})


if __name__ == "__main__":
    main()
