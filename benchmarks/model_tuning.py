"""Model tuning for `backbones.py`: a run's config enters, metrics.json leaves, as `softprompt_tf.runs.run.train_run` writes it.
The training is `softprompt_tf.baselines.ModelTuner`'s; the weights that do best on the validation rows answer the test rows."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from backbones_report import write_json

from softprompt_tf.backbones import load_t5
from softprompt_tf.baselines import ModelTuner, TuningSettings
from softprompt_tf.config import RunConfig
from softprompt_tf.evaluation.evaluation import evaluate_examples
from softprompt_tf.runs.run import TaskData
from softprompt_tf.tasks import load_task

__all__ = ["TuningSettings", "tune_model"]


def tune_model(config: RunConfig, settings: TuningSettings) -> dict[str, Any]:
    """Train all weights of `config.backbone` on the task, and write `config.output_dir`/metrics.json.

    Args:
      config: of one task; its backbone, task, seed, precision and z-loss are used.
      settings: how long and how fast.

    Returns:
      What the file holds; the metrics of the test split stand under "test" where the task has one.

    Raises:
      SoftPromptError: for a mistake in the config, its data or its backbone, or a loss that is not finite.
    """
    directory = Path(config.output_dir)
    task = load_task(config.tasks[0])
    tuner = ModelTuner(
        load_t5(config.backbone), precision=config.training.precision, z_loss=config.training.z_loss
    )  # float32 whatever the precision, which is that of activations alone
    data = TaskData(task, task.examples("train"), task.examples("validation"))
    tuned = tuner.tune([data], settings, seed=config.seed, state_path=directory / "state.safetensors")
    metrics: dict[str, Any] = {
        "validation": tuned.metrics,
        "score": tuned.best_score,
        "best_step": tuned.best_step,
        "steps_done": tuned.steps_done,
        "seconds_per_step": tuned.seconds_per_step,
        "history": [asdict(evaluation) for evaluation in tuned.history],
    }
    if task.test is not None:
        metrics["test"] = {task.name: evaluate_examples(tuner.answerer(task), task, task.examples("test")).metrics}
    write_json(directory / "metrics.json", metrics)
    (directory / "state.safetensors").unlink(missing_ok=True)
    return metrics
