"""A run's settings: read, check and write a config of YAML and `key=value` overrides."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationError, model_validator

from softprompt_tf.config_paths import localise_run, localise_task, read_task
from softprompt_tf.errors import ConfigError
from softprompt_tf.methods.family.prompt_tuning import PromptTuningConfig
from softprompt_tf.methods.prompt_section import AnyMethodConfig as AnyMethodConfig
from softprompt_tf.methods.prompt_section import drop_settings_of_other_methods
from softprompt_tf.methods.prompt_section import method_section as method_section
from softprompt_tf.methods.registry import METHODS
from softprompt_tf.settings.config_files import apply_override, read_tree
from softprompt_tf.settings.config_messages import Described, SectionOf
from softprompt_tf.settings.config_section import WHOLE_NUMBER as _WHOLE_NUMBER
from softprompt_tf.settings.config_section import Section as _Section
from softprompt_tf.settings.task_section import SPLITS as SPLITS
from softprompt_tf.settings.task_section import Names, as_tuple
from softprompt_tf.settings.task_section import TaskConfig as TaskConfig
from softprompt_tf.settings.yaml_tree import Tree, dump_yaml

_UNION_TAGS = ("one task", "several tasks")


def _usual_rate(settings: Mapping[str, Any]) -> float:
    return 1.0 if settings.get("optimizer") == "prodigy" else 0.3


class TrainingConfig(_Section):
    """The recipe of Lester et al. 2021 (arXiv:2104.08691); configs/defaults.yaml gives the source of each value."""

    steps: int = Field(default=30_000, gt=0, description=f"{_WHOLE_NUMBER} (batches)")
    batch_size: int = Field(default=32, gt=0, description=f"{_WHOLE_NUMBER} (rows per step)")
    length_buckets: int = Field(
        default=16, gt=0, description=f"{_WHOLE_NUMBER} (batches that are sorted by length together; 1 = unsorted)"
    )
    pad_to_multiple_of: int = Field(
        default=1,
        gt=0,
        description=f"{_WHOLE_NUMBER} (tokens; compiled steps meet few widths; 1 = the longest row's)",
    )
    optimizer: Literal["adafactor", "adam", "schedule_free_adam", "prodigy", "autoprompt"] = Field(
        default="adafactor",
        description="adafactor, adam, schedule_free_adam, prodigy, or autoprompt (a search for pieces of the vocabulary)",
    )
    search_candidates: int = Field(
        default=10, gt=0, description=f"{_WHOLE_NUMBER} (of autoprompt: pieces that are tried at a position)"
    )
    search_window: int = Field(default=10, gt=0, description=f"{_WHOLE_NUMBER} (of autoprompt: batches of one search)")
    learning_rate: float = Field(default_factory=_usual_rate, gt=0, description="a number above 0 (per step), or null")
    schedule: Literal["constant", "cosine", "cosine_restarts"] = Field(
        default="constant", description="constant, cosine (down to 0), or cosine_restarts (several of them)"
    )
    cycles: int = Field(
        default=2,
        gt=0,
        description=f"{_WHOLE_NUMBER} (of cosine_restarts: cosines, each twice as long as the one before)",
    )
    warmup_steps: int = Field(default=0, ge=0, description="a whole number from 0 up (steps of linear warm-up)")
    evaluate_every: int = Field(default=1_000, gt=0, description=f"{_WHOLE_NUMBER} (steps)")
    checkpoint_every: int = Field(default=1_000, gt=0, description=f"{_WHOLE_NUMBER} (steps)")
    early_stopping_patience: int | None = Field(
        default=None, gt=0, description=f"{_WHOLE_NUMBER} (evaluations without a better score), or null for off"
    )
    weight_decay: float = Field(default=1e-5, ge=0, lt=1, description="a number from 0 up to 1 (share lost per step)")
    z_loss: float = Field(default=1e-4, ge=0, description="a number from 0 up (weight of log(Z)^2 in the loss)")
    initial_step: int = Field(
        default=0, ge=0, description="a whole number from 0 up (where the optimizer's count starts)"
    )
    strategy: Literal["default", "mirrored", "tpu", "multi_worker"] = Field(
        default="default", description="default, mirrored, tpu or multi_worker"
    )
    devices: Names | None = Field(
        default=None,
        min_length=1,
        description='a list of devices that share the T5\'s layers, such as ["GPU:0", "GPU:1"], or null for one',
    )
    precision: Literal["float32", "bfloat16", "auto"] = Field(
        default="float32", description="float32, bfloat16, or auto: bfloat16 where it is faster and agrees"
    )
    gradient_checkpointing: bool = Field(
        default=False, description="true or false (recompute activations: less memory)"
    )
    micro_batch_size: int | None = Field(
        default=None,
        gt=0,
        description=f"{_WHOLE_NUMBER} (rows of a step's batch that run at a time: less memory), or null for all",
    )
    prompt_dropout: float = Field(
        default=0.0, ge=0, lt=1, description="a number from 0 up to 1 (share of the prompt's values, in training steps)"
    )
    near_text: str | None = Field(
        default=None, min_length=1, description="words that the prompt stays near while it is trained, or null for none"
    )
    near_text_weight: float = Field(default=0.1, gt=0, description="a number above 0 (of near_text in the loss)")
    distill_from: str | dict[str, str] | None = Field(
        default=None,
        min_length=1,
        description="a prompt file whose answers the prompt stays near, a mapping from task to such, or null for none",
    )
    distill_weight: float = Field(default=1.0, gt=0, description="a number above 0 (of distill_from in the loss)")
    distill_hidden_weight: float = Field(
        default=0.0,
        ge=0,
        description="a number, 0 or above (of the hidden states of distill_from in the loss; 0 for none)",
    )
    cached_states: Literal["auto", "off", "float16", "bfloat16", "float32"] = Field(
        default="auto",
        description="auto, off, float16, bfloat16 or float32 (states below a late method are computed once for each text)",
    )
    states_directory: str | None = Field(
        default=None, min_length=1, description="a directory that runs share their cached states in, or null for none"
    )

    @model_validator(mode="before")
    @classmethod
    def _take_the_usual_rate(cls, values: Any) -> Any:
        """Take a rate of null as one that was left out."""
        if isinstance(values, Mapping) and "learning_rate" in values and values["learning_rate"] is None:
            return {key: value for key, value in values.items() if key != "learning_rate"}
        return values


def _task_tag(value: Any) -> str | None:
    if isinstance(value, Mapping | TaskConfig):
        return _UNION_TAGS[0]
    return _UNION_TAGS[1] if isinstance(value, list | tuple) else None


_Tasks = Annotated[tuple[TaskConfig, ...], BeforeValidator(as_tuple), Field(min_length=1)]


class RunConfig(_Section):
    """All that one training run needs to know.

    Args:
      backbone: a bundled name, a KerasHub preset or a directory (relative to the working directory).
      task: one task, or several for multi-task training.
      output_dir: the run directory, relative to the working directory.
      seed: decides the prompt's first values and the order of the rows.
    """

    backbone: str = Field(min_length=1, description="a bundled name, a KerasHub preset or a directory")
    task: Annotated[
        Annotated[TaskConfig, Tag(_UNION_TAGS[0])] | Annotated[_Tasks, Tag(_UNION_TAGS[1])], Discriminator(_task_tag)
    ] = Field(description="a mapping, the path of a task file, or a list of these")
    prompt: AnyMethodConfig = Field(default=PromptTuningConfig(), description="a mapping")
    training: TrainingConfig = Field(default=TrainingConfig(), description="a mapping")
    output_dir: str = Field(min_length=1, description="a directory")
    seed: int = Field(default=1, ge=0, lt=2**63, description="a whole number from 0 up")

    @property
    def tasks(self) -> tuple[TaskConfig, ...]:
        """The tasks, also where there is but one."""
        return (self.task,) if isinstance(self.task, TaskConfig) else self.task


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read the config of a run.

    Args:
      path: a YAML file. `include: [defaults.yaml, ...]` names files below it, merged in order, the file's own keys on
        top. `task` may be the path of a task file. Included files, task files, sources and `file:` prompts are relative
        to the file that names them; `${NAME}` in a path is an environment variable, and `~` at its front the home directory.
      overrides: such as "training.steps=50", laid on top in order; their paths are relative to the working directory.

    Raises:
      ConfigError: names file, line, key, what was received and what is right.

    Examples:
      >>> from softprompt_tf.config import load_config
      >>> config = load_config("run.yaml", ["training.steps=50"])
      >>> config.training.steps
      50
    """
    tree = read_tree(Path(path), localise=localise_run)
    if {"inputs", "name"} <= tree.values.keys() and "task" not in tree.values:
        raise ConfigError(
            f"A run's config must have the key `task`. Received: {path}, which is a task file. Write a config of a run"
            f" with `task: {Path(path).name}` (`softprompt configs runs` lists examples), "
            f"or let `softprompt tune {Path(path).name}` choose the settings."
        )
    for override in overrides:
        apply_override(tree, override, localise=localise_run)
    drop_settings_of_other_methods(tree)
    return _validated(RunConfig, tree)


def run_config(values: Mapping[str, Any], overrides: Sequence[str] = ()) -> RunConfig:
    """Check the config of a run given as a mapping; names of files are relative to the working directory.

    Raises:
      ConfigError: as `load_config`.
    """
    tree = Tree({str(key): value for key, value in values.items()}, {(): "the run's mapping"})
    localise_run(tree, Path.cwd())
    for override in overrides:
        apply_override(tree, override, localise=localise_run)
    return _validated(RunConfig, tree)


def load_task_config(path: str | Path) -> TaskConfig:
    """Read one task file, whose sources are relative to its own directory; `include` works as in `load_config`.

    Raises:
      ConfigError: as `load_config`.
    """
    tree = read_task(Path(path))
    if "task" in tree.values and "inputs" not in tree.values:
        raise ConfigError(
            f"A task file must have the key `inputs`. Received: {path}, which is a run's config. Pass the task file that"
            " its key `task` names."
        )
    return _validated(TaskConfig, tree)


def task_config(values: Mapping[str, Any]) -> TaskConfig:
    """Check one task given as a mapping, whose sources are relative to the working directory.

    Raises:
      ConfigError: as `load_config`.
    """
    tree = Tree({str(key): value for key, value in values.items()}, {(): "the task's mapping"})
    localise_task(tree, Path.cwd())
    return _validated(TaskConfig, tree)


def dump_config(config: RunConfig) -> str:
    """Write a config as YAML that `load_config` reads back to an equal config, from any directory."""
    return dump_yaml(config.model_dump(mode="json"))


# === From pydantic's errors to ours ===

SECTIONS: Mapping[str, SectionOf] = {
    "task": lambda _: TaskConfig,
    "prompt": method_section,
    "training": lambda _: TrainingConfig,
}
_AnySection = TypeVar("_AnySection", bound=_Section)


def _validated(section: type[_AnySection], tree: Tree) -> _AnySection:
    try:
        return section.model_validate(tree.values)
    except ValidationError as error:
        described = Described(section, tree.values, tree.place, sections=SECTIONS, methods=METHODS)
        raise ConfigError(described.messages(error)) from None
