"""What a sweep is made of: trials, their scorings, and votes of several trials.

A trial is what is trained, or set up where nothing is: a method, tasks, settings and a seed. A scoring is one figure of a
trial: on the task itself, or on another one. A vote is the ensemble of several trials.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softprompt_tf.config import TaskConfig
from softprompt_tf.experiments.results import RunResult, digest, score_of
from softprompt_tf.experiments.rows import scored_split, task_identity
from softprompt_tf.experiments.settings import RunSettings
from softprompt_tf.methods.family.method_config import LengthConfig, without_later_defaults
from softprompt_tf.methods.family.prompt_tuning import PromptTuningConfig
from softprompt_tf.tasks import LENGTH_BUCKETS

SEEDLESS = ("prompt_design_zero_shot",)
MULTITASK = "multitask_model_tuning"
WEIGHTS = ("model_tuning", MULTITASK)
_WITHOUT_EFFECT = (
    "checkpoint_every",
    "gradient_checkpointing",
    "micro_batch_size",
    "devices",
    "states_directory",
)  # on the outcome
_LATER_CHOICES = {
    "length_buckets": LENGTH_BUCKETS,
    "pad_to_multiple_of": 1,
    "cached_states": "auto",
    "cycles": 2,
    "prompt_dropout": 0.0,
    "near_text": None,
    "near_text_weight": 0.1,
    "distill_from": None,
    "distill_weight": 1.0,
    "distill_hidden_weight": 0.0,
}


@dataclass(frozen=True)
class Trial:
    """What is trained or set up.

    Args:
      arm: the method.
      tasks: one; several for multi-task model tuning.
      settings: how.
      seed: of the run.
    """

    arm: str
    tasks: tuple[TaskConfig, ...]
    settings: RunSettings
    seed: int

    @property
    def config(self) -> dict[str, Any]:
        """All that decides the outcome, JSON values, and nothing that does not."""
        settings = self.settings.model_dump(mode="json")
        config = {
            "method": self.arm,
            "backbone": settings["backbone"],
            "tasks": [task_identity(task) for task in self.tasks],
            "rows": settings["rows"],
            "seed": self.seed,
        }
        training = {key: value for key, value in settings["training"].items() if key not in _WITHOUT_EFFECT}
        for key, default in _LATER_CHOICES.items():
            if training[key] == default:
                del training[key]  # so that results from before there was a choice are still found
        settings["prompt"] = without_later_defaults(settings["prompt"])
        if self.arm == "prompt_tuning":
            return config | {"prompt": settings["prompt"], "training": training}
        if self.arm in WEIGHTS:
            return config | {
                "model_tuning": settings["model_tuning"],
                "training": {key: training[key] for key in ("precision", "z_loss")},
            }
        if self.arm == "random_prompt":
            return config | {"prompt": {"length": self.random_length}}
        design = settings["prompt_design"]
        instructions = {t.name: design["instructions"][t.name] for t in self.tasks if t.name in design["instructions"]}
        shots = 0 if self.arm == "prompt_design_zero_shot" else design["shots"]
        return config | {"prompt_design": {**design, "shots": shots, "instructions": instructions}}

    @property
    def random_length(self) -> int:
        """The rows of a random prompt: those of the method's, or prompt tuning's where that has no rows, such as LoRA."""
        prompt = self.settings.prompt
        return prompt.length if isinstance(prompt, LengthConfig) else PromptTuningConfig().length

    @property
    def name(self) -> str:
        """Its directory: readable, and different for different configs."""
        task = self.tasks[0].name if len(self.tasks) == 1 else f"{len(self.tasks)}_tasks"
        return f"{task}-{self.arm}-{self.seed}-{digest(self.config)}"

    @property
    def backbone_name(self) -> str:
        """What its T5 is called: its folder's name, or the folder's above where that is `preset`."""
        path = Path(self.settings.backbone.rstrip("/"))
        return path.parent.name if path.name == "preset" and path.parent.name else path.name


@dataclass(frozen=True)
class Scoring:
    """One figure of a trial.

    Args:
      experiment, arm, x: as in `RunResult`.
      trial: what is scored.
      task: what it was trained on; of several, the one that is scored.
      eval_task: what it is scored on: the same task, the same with other rows, or another task.
    """

    experiment: str
    arm: str
    x: float | str | None
    trial: Trial
    task: TaskConfig
    eval_task: TaskConfig

    @property
    def config(self) -> dict[str, Any]:
        """What the result is known by."""
        where = {"experiment": self.experiment, "arm": self.arm, "x": self.x}
        return {**where, "eval_task": task_identity(self.eval_task), "run": self.trial.config}

    def result(self, metrics: dict[str, float], step: int | None, seconds: float) -> RunResult:
        """Return the figure with all that it belongs to; arguments as in `RunResult`."""
        return RunResult(
            experiment=self.experiment,
            arm=self.arm,
            x=self.x,
            task=self.task.name,
            eval_task=self.eval_task.name,
            seed=self.trial.seed,
            metrics=metrics,
            score=score_of(metrics),
            step=step,
            seconds=seconds,
            backbone=self.trial.backbone_name,
            config=self.config,
        )

    def __str__(self) -> str:
        what = self.trial.settings.prompt.method if self.arm == "prompt_tuning" else self.arm
        return _told(self.experiment, what, self.x, self.task, self.eval_task, f"seed {self.trial.seed}")


@dataclass(frozen=True)
class Vote:
    """The best of several prompts of one task, and their majority vote; arms "best_of_N" and "ensemble_of_N"."""

    experiment: str
    x: float | str | None
    trials: tuple[Trial, ...]

    @property
    def task(self) -> TaskConfig:
        """What all of them were trained on, and are scored on."""
        return self.trials[0].tasks[0]

    @property
    def arms(self) -> tuple[str, str]:
        """What the two results are called."""
        return f"best_of_{len(self.trials)}", f"ensemble_of_{len(self.trials)}"

    def config(self, arm: str) -> dict[str, Any]:
        """What a result is known by."""
        where = {"experiment": self.experiment, "arm": arm, "x": self.x}
        return {**where, "eval_task": task_identity(self.task), "runs": [trial.config for trial in self.trials]}

    def __str__(self) -> str:
        return _told(self.experiment, self.arms[1], self.x, self.task, self.task, "all seeds")


def _told(experiment: str, arm: str, x: object, task: TaskConfig, eval_task: TaskConfig, seed: str) -> str:
    scored_on = f"other rows ({scored_split(eval_task)})" if task.name == eval_task.name else eval_task.name
    where = task.name if task == eval_task else f"{task.name} on {scored_on}"
    return ", ".join(part for part in (experiment, arm, "" if x is None else f"x {x}", where, seed) if part)
