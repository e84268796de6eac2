"""The YAML file of a sweep, typed and checked: what is compared, on which tasks, with which seeds.

`include`, unknown keys and `${NAME}` behave as in a run's config.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from softprompt_tf.baselines import TuningSettings
from softprompt_tf.config import AnyMethodConfig, TrainingConfig
from softprompt_tf.errors import ConfigError
from softprompt_tf.methods.family.prompt_tuning import PromptTuningConfig
from softprompt_tf.methods.registry import METHODS
from softprompt_tf.settings.config_files import read_tree
from softprompt_tf.settings.spelling import nearest
from softprompt_tf.settings.yaml_tree import Tree
from softprompt_tf.target_format import TargetFormat

Arm = Literal[
    "prompt_tuning",
    "model_tuning",
    "multitask_model_tuning",
    "prompt_design_zero_shot",
    "prompt_design_few_shot",
    "random_prompt",
]
ARMS: tuple[str, ...] = get_args(Arm)

_VARIABLE = re.compile(r"\$\{(\w*)\}")


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _names_by_text(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {str(key): tuple(each) if isinstance(each, list) else each for key, each in value.items()}


Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(_as_tuple), Field(min_length=1)]
Values = Annotated[tuple[Any, ...], BeforeValidator(_as_tuple), Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Rows(_Section):
    """How many rows of a task are used, drawn with a fixed seed; rows of one group stay together. None: all."""

    train: int | None = Field(default=None, gt=0)
    validation: int | None = Field(default=None, gt=0)


class PromptDesignSettings(_Section):
    """How prompts are written by hand: how many solved rows, and instructions of tasks that shall not have the default one."""

    shots: int = Field(default=8, gt=0)
    max_input_tokens: int | None = Field(default=None, gt=0)
    instructions: dict[str, str] = Field(default_factory=dict)


class RunSettings(_Section):
    """What a run is made with; `vary` and `variants` of an experiment change these by dotted key.

    Args:
      backbone: a bundled name, a KerasHub preset or a directory; `${NAME}` is an environment variable.
      target_format: of all tasks; None for each task's own.
      max_input_tokens: a limit below the tasks' own; None for none.
      rows, prompt, training, model_tuning, prompt_design: as their classes say. `training` is prompt tuning's; its
        precision and z-loss are model tuning's too.
    """

    backbone: str = Field(default="mini", min_length=1)
    target_format: TargetFormat | None = None
    max_input_tokens: int | None = Field(default=None, gt=0)
    rows: Rows = Rows()
    prompt: AnyMethodConfig = PromptTuningConfig()
    training: TrainingConfig = TrainingConfig()
    model_tuning: TuningSettings = TuningSettings()
    prompt_design: PromptDesignSettings = PromptDesignSettings()


class Experiment(RunSettings):
    """One experiment: the settings of its runs, and what is compared.

    Args:
      arms: methods.
      tasks: names of files in the library's configs/tasks, or paths of task files.
      seeds: one run for each; of what no seed changes, one run in all.
      vary: one dotted key of the settings -> its values, which become the results' `x`.
      variants: x -> dotted keys of the settings and their values, where one key does not do.
      evaluate_on: task -> further tasks that its prompt or model is scored on, without training on them.
      ensemble: whether the prompts of all seeds vote.
    """

    arms: Annotated[tuple[Arm, ...], BeforeValidator(_as_tuple), Field(min_length=1)] = ("prompt_tuning",)
    tasks: Names
    seeds: Seeds = (1,)
    vary: Annotated[dict[str, Values], BeforeValidator(_names_by_text), Field(max_length=1)] = Field(
        default_factory=dict
    )
    variants: Annotated[dict[str, dict[str, Any]], BeforeValidator(_names_by_text)] = Field(default_factory=dict)
    evaluate_on: Annotated[dict[str, Names], BeforeValidator(_names_by_text)] = Field(default_factory=dict)
    ensemble: bool = False

    def settings(self) -> list[tuple[float | str | None, RunSettings]]:
        """Return x and the settings of each value of the sweep; one pair with x None where nothing is swept."""
        changes: list[tuple[float | str | None, Mapping[str, Any]]] = [(None, {})]
        if self.vary:
            ((key, values),) = self.vary.items()
            changes = [(value, {key: value}) for value in values]
        elif self.variants:
            changes = [(_number_or_text(x), change) for x, change in self.variants.items()]
        own = self.model_dump(mode="json", include=set(RunSettings.model_fields))
        return [(x, RunSettings.model_validate(_changed(own, change))) for x, change in changes]


def read_sweep(path: str | Path, *, backbone: str | None = None) -> dict[str, Experiment]:
    """Read a sweep's YAML file: settings that all its experiments share, and `experiments`: name -> what it adds or changes.

    Args:
      path: the file.
      backbone: in the place of the shared one.

    Raises:
      ConfigError: if a key is unknown, missing or wrong.
    """
    path = Path(path)
    values = dict(_with_variables(read_tree(path, localise=_as_it_is).values))
    if backbone is not None:
        values["backbone"] = backbone
    experiments = values.pop("experiments", None)
    if not isinstance(experiments, Mapping) or not experiments:
        raise ConfigError(
            f"`experiments` in {path} must be a mapping of one experiment or more. Received: {experiments!r}."
        )
    return {name: _experiment(path, str(name), _merged(values, own or {})) for name, own in experiments.items()}


def _experiment(path: Path, name: str, values: Mapping[str, Any]) -> Experiment:
    try:
        experiment = Experiment.model_validate(values)
        experiment.settings()  # whose mistakes are better told now than after the first runs
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if part not in METHODS)
        raise ConfigError(
            f"`{key}` of experiment `{name}` in {path}: {first['msg']}. Received: {first['input']!r:.200}."
        ) from None
    except ConfigError as error:
        raise ConfigError(f"Experiment `{name}` in {path}: {error}") from None
    if experiment.vary and experiment.variants:
        raise ConfigError(f"Experiment `{name}` in {path} must have `vary` or `variants`. Received: both.")
    unknown = sorted(set(experiment.evaluate_on) - set(experiment.tasks))
    if unknown:
        raise ConfigError(
            f"`evaluate_on` of experiment `{name}` in {path} must name its tasks. Received: {unknown[0]!r}."
        )
    if experiment.ensemble and (len(experiment.seeds) < 2 or experiment.arms != ("prompt_tuning",)):
        raise ConfigError(
            f"An ensemble needs two seeds or more, and prompt tuning alone. Received: seeds {list(experiment.seeds)}, "
            f"arms {list(experiment.arms)} of experiment `{name}` in {path}."
        )
    return experiment


def _changed(values: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Set dotted keys in a copy of nested mappings."""
    copy = _merged(values, {})
    for dotted, value in change.items():
        *above, last = dotted.split(".")
        level: Any = copy
        for key in [*above, last]:
            if not isinstance(level, dict) or key not in level:
                known = level if isinstance(level, dict) else {}
                raise ConfigError(f"Unknown key. Received: {dotted!r}.{nearest(key, known)}")
            parent, level = level, level[key]
        parent[last] = value
    return copy


def _merged(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `top` over `base`: mappings key by key, all else is replaced. Neither is changed."""
    merged = {key: _merged(value, {}) if isinstance(value, Mapping) else value for key, value in base.items()}
    for key, value in top.items():
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(below, value) if both else value  # type: ignore[arg-type]
    return merged


def _with_variables(value: Any) -> Any:
    if isinstance(value, str):
        return _VARIABLE.sub(_variable, value)
    if isinstance(value, Mapping):
        return {key: _with_variables(each) for key, each in value.items()}
    return [_with_variables(each) for each in value] if isinstance(value, tuple | list) else value


def _variable(match: re.Match[str]) -> str:
    # One that is not set stays as it is: what needs it is left out, or refused, by name.
    return os.environ.get(match[1], match[0])


def _as_it_is(tree: Tree, directory: Path) -> None:
    """Change nothing: paths in a sweep are relative to the working directory."""


def _number_or_text(text: str) -> float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
