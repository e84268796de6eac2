"""The YAML file of a sweep, typed and checked: what is compared, on which tasks, with which seeds.

`include`, unknown keys, `${NAME}` and `~/` behave as in a run's config.
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BeforeValidator, Field, ValidationError

from softprompt_tf.baselines import TuningSettings
from softprompt_tf.config import SECTIONS, AnyMethodConfig, TrainingConfig, method_section
from softprompt_tf.errors import ConfigError
from softprompt_tf.experiments.changed_settings import UnknownKeyError, merged, with_changes, with_variables
from softprompt_tf.methods.family.prompt_tuning import PromptTuningConfig
from softprompt_tf.methods.registry import METHODS
from softprompt_tf.runs.precision_choice import check_can_be_measured
from softprompt_tf.settings.config_files import read_tree
from softprompt_tf.settings.config_messages import Described, SectionOf
from softprompt_tf.settings.config_section import WHOLE_NUMBER, Section
from softprompt_tf.settings.yaml_tree import KeyPath, Tree
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

_AnySettings = TypeVar("_AnySettings", bound="RunSettings")


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _names_by_text(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {str(key): tuple(each) if isinstance(each, list) else each for key, each in value.items()}


Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0, lt=2**63)], ...], BeforeValidator(_as_tuple), Field(min_length=1)]
Values = Annotated[tuple[Any, ...], BeforeValidator(_as_tuple), Field(min_length=1)]


class Rows(Section):
    """How many rows of a task are used, drawn with a fixed seed; rows of one group stay together. None: all."""

    train: int | None = Field(default=None, gt=0, description=f"{WHOLE_NUMBER}, or null for all rows")
    validation: int | None = Field(default=None, gt=0, description=f"{WHOLE_NUMBER}, or null for all rows")


class PromptDesignSettings(Section):
    """How prompts are written by hand: how many solved rows, and instructions of tasks that shall not have the default one."""

    shots: int = Field(default=8, gt=0, description=f"{WHOLE_NUMBER} (solved rows)")
    max_input_tokens: int | None = Field(default=None, gt=0, description=f"{WHOLE_NUMBER}, or null for the tasks' own")
    instructions: dict[str, str] = Field(default_factory=dict, description="a mapping from task to text")


class RunSettings(Section):
    """What a run is made with; `vary` and `variants` of an experiment change these by dotted key.

    Args:
      backbone: a bundled name, a KerasHub preset or a directory; `${NAME}` is an environment variable.
      target_format: how all tasks write targets; None for each task's own.
      max_input_tokens: a limit below the tasks' own; None for none.
      rows: how many rows of each task are used, drawn with a fixed seed: `train` and `validation`; None for all.
      prompt: the method and its settings.
      training: the recipe of prompt tuning; its precision and z-loss are model tuning's too. Where the precision is auto, the
        sweep chooses one for each backbone.
      model_tuning: how all weights are trained: `steps`, `batch_size`, `learning_rate` (Adam's), `warmup_steps`, `evaluate_every`.
      prompt_design: how prompts are written by hand: `shots` (solved rows), `max_input_tokens`, and `instructions`, a mapping from
        task to text.
    """

    backbone: str = Field(default="mini", min_length=1, description="a bundled name, a KerasHub preset or a directory")
    target_format: TargetFormat | None = Field(default=None, description="text, sentinel, or null for the tasks' own")
    max_input_tokens: int | None = Field(default=None, gt=0, description=f"{WHOLE_NUMBER}, or null for the tasks' own")
    rows: Rows = Field(default=Rows(), description="a mapping")
    prompt: AnyMethodConfig = Field(default=PromptTuningConfig(), description="a mapping")
    training: TrainingConfig = Field(default=TrainingConfig(), description="a mapping")
    model_tuning: TuningSettings = Field(default=TuningSettings(), description="a mapping")
    prompt_design: PromptDesignSettings = Field(default=PromptDesignSettings(), description="a mapping")


class Experiment(RunSettings):
    """One experiment: the settings of its runs, and what is compared.

    Args:
      arms: what is compared, of prompt_tuning (with the method of `prompt`), model_tuning, multitask_model_tuning,
        prompt_design_zero_shot, prompt_design_few_shot and random_prompt.
      tasks: names of files in the library's configs/tasks, or paths of task files.
      seeds: one run for each; where no seed changes anything, one run in all.
      vary: one dotted key of the settings -> its values, such as {prompt.length: [1, 20]}; they become the results' `x`.
      variants: x -> dotted keys of the settings and their values, where one key is not enough.
      evaluate_on: task -> further tasks that its prompt or model is scored on, without training on them.
      ensemble: whether the prompts of all seeds vote.
    """

    arms: Annotated[tuple[Arm, ...], BeforeValidator(_as_tuple), Field(min_length=1)] = Field(
        default=("prompt_tuning",), description=f"a list of {', '.join(ARMS)}"
    )
    tasks: Names = Field(description="a list of task names or files")
    seeds: Seeds = Field(default=(1,), description="a list of whole numbers from 0 up")
    vary: Annotated[dict[str, Values], BeforeValidator(_names_by_text), Field(max_length=1)] = Field(
        default_factory=dict, description="one dotted key with a list of values, such as {prompt.length: [1, 20]}"
    )
    variants: Annotated[dict[str, dict[str, Any]], BeforeValidator(_names_by_text)] = Field(
        default_factory=dict, description="a mapping from name to dotted keys, such as {long: {prompt.length: 100}}"
    )
    evaluate_on: Annotated[dict[str, Names], BeforeValidator(_names_by_text)] = Field(
        default_factory=dict, description="a mapping from one of the tasks to a list of further tasks"
    )
    ensemble: bool = Field(default=False, description="true or false (whether the prompts of all seeds vote)")

    def settings(self) -> list[tuple[float | str | None, RunSettings]]:
        """Return x and the settings of each value of the sweep; one pair with x None where nothing is swept."""
        return [(x, RunSettings.model_validate(self.changed(change))) for x, _, change in self.changes()]

    def changes(self) -> list[tuple[float | str | None, KeyPath, Mapping[str, Any]]]:
        """Return x, the key that it stands under, and its dotted keys with their values."""
        if self.vary:
            ((key, values),) = self.vary.items()
            return [(_scalar(value), ("vary", key), {key: value}) for value in values]
        if self.variants:
            return [(_number_or_text(x), ("variants", x), change) for x, change in self.variants.items()]
        return [(None, (), {})]

    def changed(self, change: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings with other values, not checked yet.

        Raises:
          UnknownKeyError: for a dotted key that is not known.
        """
        own = self.model_dump(mode="json", include=set(RunSettings.model_fields))
        if "learning_rate" not in self.training.model_fields_set:
            own["training"]["learning_rate"] = None  # that of the optimizer, which may change
        return with_changes(own, change, written=self.prompt.model_fields_set)


def read_sweep(path: str | Path, *, backbone: str | None = None) -> dict[str, Experiment]:
    """Read a sweep's YAML file: settings that all its experiments share, and `experiments`: name -> what it adds or changes.

    Args:
      path: the file.
      backbone: in the place of the shared one.

    Raises:
      ConfigError: if a key is unknown, missing or wrong.
    """
    path = Path(path)
    tree = read_tree(path, localise=_as_it_is)
    values = dict(with_variables(tree.values))
    if backbone is not None:
        values["backbone"] = backbone
    experiments = values.pop("experiments", None)
    if not isinstance(experiments, Mapping) or not experiments:
        raise ConfigError(
            f"`experiments` in {path} must be a mapping of one experiment or more. Received: {experiments!r}."
        )
    for name, own in experiments.items():
        if own is not None and not isinstance(own, Mapping):
            place = tree.place(("experiments", str(name)))
            raise ConfigError(f"`experiments.{name}` must be a mapping. Received: {own!r:.200} ({place}).")
    return {name: _experiment(path, tree, str(name), merged(values, own or {})) for name, own in experiments.items()}


_SECTIONS: Mapping[str, SectionOf] = {
    "prompt": method_section,
    "training": SECTIONS["training"],
    "rows": lambda _: Rows,
    "model_tuning": lambda _: TuningSettings,
    "prompt_design": lambda _: PromptDesignSettings,
}


def _experiment(path: Path, tree: Tree, name: str, values: Mapping[str, Any]) -> Experiment:
    experiment = _checked(Experiment, values, name, lambda key: _place(tree, name, key))
    for _, swept, change in experiment.changes():  # whose mistakes are better told now than after the first runs
        place = _place(tree, name, swept)
        try:
            settings = experiment.changed(change)
        except UnknownKeyError as error:
            raise ConfigError(f"Unknown key `{error.key}` of experiment `{name}` in {place}.{error.hint}") from None
        checked = _checked(RunSettings, settings, name, _always(place))
        check_can_be_measured(checked.training, where=f" of experiment `{name}` in {place}")
    _check_different(experiment, name, path)
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


def _check_different(experiment: Experiment, name: str, path: Path) -> None:
    """Refuse a seed or a swept value that is there twice: two runs would be one, and the report would have no line for each."""
    swept = [x for x, _, _ in experiment.changes()]
    key = "vary" if experiment.vary else "variants"
    for what, values in (("seeds", experiment.seeds), (key, swept)):
        twice = next((value for place, value in enumerate(values) if value in values[:place]), None)
        if len(set(values)) < len(values):
            raise ConfigError(
                f"`{what}` of experiment `{name}` in {path} must have each value once. Received: {twice!r} twice."
            )


def _checked(
    section: type[_AnySettings], values: Mapping[str, Any], name: str, place: Callable[[KeyPath], str]
) -> _AnySettings:
    try:
        return section.model_validate(values)
    except ValidationError as error:
        described = Described(
            section, values, place, sections=_SECTIONS, methods=METHODS, owner=f" of experiment `{name}`"
        )
        raise ConfigError(described.messages(error)) from None


def _always(place: str) -> Callable[[KeyPath], str]:
    return lambda _: place


def _place(tree: Tree, name: str, path: KeyPath) -> str:
    """Return where an experiment's own key stands, else where the file has it for all experiments."""
    own = ("experiments", name, *path)
    if own in tree.places or path[:1] not in tree.places:
        return tree.place(own)
    is_shared = len(path) > 1 and ("experiments", name, *path[:-1]) not in tree.places
    return tree.place(path if is_shared or path in tree.places else own)


def _as_it_is(tree: Tree, directory: Path) -> None:
    """Change nothing: paths in a sweep are relative to the working directory."""


def _number_or_text(text: str) -> float | str:
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        return number if math.isfinite(number) else text  # NaN is no place on an axis, nor is it equal to itself
    return text


def _scalar(value: Any) -> Any:
    """Return a swept value as a result's `x`: a list or a mapping as its JSON."""
    return json.dumps(value) if isinstance(value, Mapping | list | tuple) else value
