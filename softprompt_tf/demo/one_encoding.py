"""The demo's last part: the three tasks once more, with prompts behind the encoder, asked of one text for one encoding."""

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from softprompt_tf.config import RunConfig, load_config
from softprompt_tf.export.client.client import PredictionClient
from softprompt_tf.export.server.server import ModelServer
from softprompt_tf.runs.run import RunResult, train_run

TEXT = "Who scored that wonderful goal in the last minute?"
STEPS = 200
TEXTS, ROUNDS = 32, 7  # of the measurement


def behind(task: str) -> str:
    """Return what the task is called whose prompt is behind the encoder."""
    return f"{task}_behind"


def train_behind(runs: Mapping[str, RunResult]) -> dict[str, Path]:
    """Train a prompt behind the encoder for the task of each run, with the run's settings and fewer steps.

    Args:
      runs: task -> its run with a prompt in front of the input.

    Returns:
      Task id -> prompt file.
    """
    print("=== the same tasks, with prompts behind the encoder, on cached states ===", flush=True)
    started = time.monotonic()
    results = {task: train_run(run_behind(task, run)) for task, run in runs.items()}
    print(f"\n{'dev accuracy':<15}{'in front':>9}{'behind':>9}")
    for task, result in results.items():
        front, late = (each.scores[task].metrics["accuracy"] for each in (runs[task], result))
        print(f"{task:<15}{front:>9.3f}{late:>9.3f}")
    print(f"The three behind the encoder took {time.monotonic() - started:.0f} seconds.\n")
    return {behind(task): result.prompts[task] for task, result in results.items()}


def ask_one_encoding(base_path: Path, tasks: Sequence[str]) -> None:
    """Serve an export that has each task twice, in front and behind, and print what one text costs with either.

    Args:
      base_path: of the export.
      tasks: the tasks in front; those behind are called `behind(task)`.
    """
    late = [behind(task) for task in tasks]
    with (
        ModelServer(base_path, model_name="demo", grpc_port=0, rest_port=None) as server,
        PredictionClient(f"127.0.0.1:{server.grpc_port}", model_name="demo") as client,
    ):
        (answers,) = client.classify_all([TEXT], late)
        seconds = _seconds(client, {"behind": late, "in front": list(tasks)})
    told = ", ".join(f"{task}: {answers[behind(task)].label}" for task in tasks)
    print(f"\nOne text, three tasks, one encoding: {TEXT!r} -> {told}.")
    print(
        f"{TEXTS} texts asked for three tasks: {seconds['behind']:.3f} s with one encoding each, {seconds['in front']:.3f} s with "
        f"three (prompts in front), medians of {ROUNDS} rounds."
    )


def run_behind(task: str, run: RunResult) -> RunConfig:
    """Return the config of a run behind the encoder, from that of the run in front."""
    written = run.output_dir / "config.yaml"
    steps = min(STEPS, load_config(written).training.steps)
    changes = ["prompt.method=late_prompts", f"training.steps={steps}", f"training.evaluate_every={max(1, steps // 4)}"]
    return load_config(written, [*changes, f"output_dir={run.output_dir.parent / behind(task)}"])


def _seconds(client: PredictionClient, kinds: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Return how long it takes to ask texts that differ for the tasks of each kind; the kinds take turns."""
    texts = [f"{number}. {TEXT}" for number in range(TEXTS)]
    taken: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(ROUNDS + 1):
        for kind, tasks in kinds.items():
            started = time.perf_counter()
            client.classify_all(texts, tasks)
            taken[kind].append(time.perf_counter() - started)
    return {kind: statistics.median(each[1:]) for kind, each in taken.items()}
