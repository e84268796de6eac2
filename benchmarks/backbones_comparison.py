"""Read a comparison's YAML file and plan its runs for the library's sweeps: what `backbones.py` compares."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from softprompt_tf.baselines import TuningSettings
from softprompt_tf.config import RunConfig, load_config
from softprompt_tf.errors import ConfigError
from softprompt_tf.experiments.plan import Plan
from softprompt_tf.experiments.settings import RunSettings
from softprompt_tf.experiments.trials import Scoring, Trial
from softprompt_tf.settings.config_messages import Described, SectionOf
from softprompt_tf.settings.config_section import Section
from softprompt_tf.settings.yaml_tree import read_yaml

CONFIGS = Path(__file__).resolve().parents[1] / "configs"

_EXPERIMENT = "backbones"
_NAME = r"^[A-Za-z0-9_.-]+$"
_TUNING_PREFIX = "model_tuning."


class Arm(Section):
    """One backbone: a short name, what the table calls it, where it lies, and how its targets are written."""

    name: str = Field(pattern=_NAME, description="a name of letters, digits, `_`, `.` and `-`")
    backbone: str = Field(min_length=1, description="a bundled name, a KerasHub preset or a directory")
    label: str = Field(default="", description="a text")
    target_format: Literal["text", "sentinel"] = Field(default="text", description="text or sentinel")


class Comparison(Section):
    """A comparison's YAML file.

    Args:
      arms: the backbones.
      tasks: names of files in configs/tasks.
      seeds: of the prompts' runs.
      overrides: dotted keys of a run's config -> values, on top of configs/defaults.yaml.
      task_overrides: task -> the same for it alone, and `model_tuning.KEY` for a key of `model_tuning`.
      model_tuning: None for no model tuning.
      model_tuning_seeds: () for the same as the prompts'.
    """

    arms: tuple[Arm, ...] = Field(min_length=1, description="a list of mappings with name and backbone")
    tasks: tuple[str, ...] = Field(min_length=1, description="a list of task names")
    seeds: tuple[int, ...] = Field(min_length=1, description="a list of whole numbers")
    overrides: dict[str, Any] = Field(default_factory=dict, description="a mapping of dotted keys")
    task_overrides: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="a mapping from task to dotted keys"
    )
    model_tuning: TuningSettings | None = Field(default=None, description="a mapping, or null for none")
    model_tuning_seeds: tuple[int, ...] = Field(default=(), description="a list of whole numbers")

    @property
    def arm_labels(self) -> dict[str, str]:
        """Arm name -> what the table calls it."""
        return {arm.name: arm.label or arm.name for arm in self.arms}


_SECTIONS: Mapping[str, SectionOf] = {"arms": lambda _: Arm, "model_tuning": lambda _: TuningSettings}


def read_comparison(path: Path, *, with_model_tuning: bool = False) -> Comparison:
    """Read a comparison's YAML file.

    Raises:
      ConfigError: if a key is unknown, missing or wrong.
    """
    tree = read_yaml(path)
    try:
        comparison = Comparison.model_validate(tree.values)
    except ValidationError as error:
        raise ConfigError(Described(Comparison, tree.values, tree.place, _SECTIONS).messages(error)) from None
    try:
        if with_model_tuning and comparison.model_tuning is None:
            comparison = comparison.model_copy(update={"model_tuning": TuningSettings()})
        for task in comparison.tasks:
            _tuning_settings(comparison, task)  # whose mistakes are better told now than after the prompts' runs
    except ValidationError as error:
        values = _tuning_values(comparison, task)
        described = Described(TuningSettings, values, lambda _: str(path), owner=f" of model tuning on `{task}`")
        raise ConfigError(described.messages(error)) from None
    if len(comparison.arm_labels) != len(comparison.arms):
        raise ConfigError(f"Every arm must have a name of its own. Received: {path}, where two have the same.")
    check_known(comparison.task_overrides, comparison.tasks)
    return comparison


def plan_of(comparison: Comparison) -> Plan:
    """Return every run of a comparison: by task, then seed, so that the arms can soon be compared; model tuning last."""
    methods = {"prompt_tuning": comparison.seeds}
    if comparison.model_tuning is not None:
        methods["model_tuning"] = comparison.model_tuning_seeds or comparison.seeds
    return Plan(
        scorings=[
            scoring
            for method, seeds in methods.items()
            for task in comparison.tasks
            for seed in seeds
            for arm in comparison.arms
            for scoring in _scorings(comparison, method, task, seed, arm)
        ]
    )


def check_known(names: Iterable[str], known: Collection[str]) -> None:
    """Refuse a name that is none of the known ones.

    Raises:
      ConfigError: names both.
    """
    for name in names:
        if name not in known:
            raise ConfigError(f"A name must be one of {', '.join(known)}. Received: {name!r}.")


def _scorings(comparison: Comparison, method: str, task: str, seed: int, arm: Arm) -> Iterator[Scoring]:
    """Yield what is scored of a run: the validation rows, and the test rows where there are some."""
    config = _config(comparison, arm, task, seed)
    settings = RunSettings(
        backbone=config.backbone,
        prompt=config.prompt,
        training=config.training,
        model_tuning=_tuning_settings(comparison, task),
    )
    (own,) = config.tasks
    trial = Trial(method, (own,), settings, config.seed)
    yield Scoring(_EXPERIMENT, method, arm.name, trial, own, own)
    if own.test is not None:
        yield Scoring(_EXPERIMENT, method, arm.name, trial, own, own.model_copy(update={"validation": None}))


def _config(comparison: Comparison, arm: Arm, task: str, seed: int) -> RunConfig:
    own, _ = _task_overrides(comparison, task)
    values: dict[str, Any] = {
        "task": str(CONFIGS / "tasks" / f"{task}.yaml"),
        "backbone": arm.backbone,
        "seed": seed,
        "output_dir": ".",  # a config must have one; the sweep's trials have their own
        "task.metrics": ["accuracy"],
        **comparison.overrides,
        **own,
    }
    if arm.target_format == "sentinel":
        values["task.target_format"] = arm.target_format
    return load_config(CONFIGS / "defaults.yaml", [f"{key}={json.dumps(value)}" for key, value in values.items()])


def _tuning_settings(comparison: Comparison, task: str) -> TuningSettings:
    return TuningSettings.model_validate(_tuning_values(comparison, task))


def _tuning_values(comparison: Comparison, task: str) -> dict[str, Any]:
    shared = comparison.model_tuning.model_dump() if comparison.model_tuning else {}
    _, own = _task_overrides(comparison, task)
    return {**shared, **own}


def _task_overrides(comparison: Comparison, task: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a task's overrides of the run's config and, without their prefix, those of the model tuning's settings."""
    values = comparison.task_overrides.get(task, {})
    tuning = {key: value for key, value in values.items() if key.startswith(_TUNING_PREFIX)}
    run = {key: value for key, value in values.items() if key not in tuning}
    return run, {key.removeprefix(_TUNING_PREFIX): value for key, value in tuning.items()}
