"""A sweep small enough for tests: the tiny T5, the tasks of `tiny_run`, and runs of a few steps."""

from pathlib import Path
from typing import Any

from tiny_run import write_preset, write_tasks, write_yaml

TRAINING = {
    "steps": 4,
    "batch_size": 4,
    "optimizer": "adam",
    "learning_rate": 0.1,
    "evaluate_every": 2,
    "checkpoint_every": 1,
}
MODEL_TUNING = {"steps": 4, "batch_size": 4, "learning_rate": 0.01, "warmup_steps": 1, "evaluate_every": 2}


class TinyPlace:
    """A directory with a preset, two task files, and room for sweep files."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.backbone = str(write_preset(directory / "tiny"))
        files = write_tasks(directory)
        self.mood, self.echo = str(files["mood"]), str(files["echo"])

    def sweep(self, experiments: dict[str, Any], *, name: str = "sweep.yaml", **shared: Any) -> Path:
        """Write a sweep file: what all experiments share, and the experiments."""
        values = {
            "backbone": self.backbone,
            "prompt": {"length": 3, "init": "sampled_vocabulary"},
            "training": TRAINING,
            "model_tuning": MODEL_TUNING,
            "prompt_design": {"shots": 2},
            "seeds": [1, 2],
            "experiments": experiments,
        }
        return write_yaml(self.directory / name, values | shared)
