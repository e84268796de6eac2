"""A run's settings: read, check and write a config of YAML and `key=value` overrides."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union

from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationError

from softprompt_tf.errors import ConfigError
from softprompt_tf.methods.family.method_config import MethodConfig
from softprompt_tf.methods.family.prompt_tuning import PromptTuningConfig
from softprompt_tf.methods.initializers import BUNDLED
from softprompt_tf.methods.registry import METHODS
from softprompt_tf.settings.config_files import apply_override, read_tree, resolve_source
from softprompt_tf.settings.config_messages import Described, SectionOf
from softprompt_tf.settings.config_section import WHOLE_NUMBER as _WHOLE_NUMBER
from softprompt_tf.settings.config_section import Section as _Section
from softprompt_tf.settings.yaml_tree import KeyPath, Tree, dump_yaml
from softprompt_tf.target_format import TargetFormat

SPLITS = ("train", "validation", "test")

_UNION_TAGS = ("one task", "several tasks")


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _with_text_keys(value: Any) -> Any:
    return {str(key): word for key, word in value.items()} if isinstance(value, Mapping) else value


def _as_names(value: Any) -> Any:
    return (value,) if isinstance(value, str) else _as_tuple(value)


Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
NameOrNames = Annotated[tuple[str, ...], BeforeValidator(_as_names)]
Labels = Annotated[dict[str, str], BeforeValidator(_with_text_keys)]


class TaskConfig(_Section):
    """One task: where its rows lie and how they become text. `softprompt_tf.tasks.Task` says what each field means."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$", description="a name of letters, digits, `_`, `.` and `-`")
    inputs: str = Field(description='a template, such as "sst2 sentence: {sentence}"')
    targets: str = Field(default="{label}", description='a template, such as "{label}"')
    labels: Labels | None = Field(
        default=None, min_length=1, description='a mapping from raw value to label word, such as {0: "negative"}'
    )
    metrics: Names = Field(default=("accuracy",), min_length=1, description="a list of metric names")
    taskless: bool = Field(default=False, description="true or false (whether `inputs` lose their first word)")
    preprocess: NameOrNames = Field(default=(), description="the name of a preprocessor, or a list of them")
    preprocess_train: NameOrNames = Field(default=(), description="the name of a preprocessor, or a list of them")
    postprocess: NameOrNames = Field(default=(), description="the name of a postprocessor, or a list of them")
    references: str | None = Field(default=None, min_length=1, description="the name of a field, or null")
    group_by: NameOrNames = Field(default=(), description="the name of a field, or a list of them")
    train: str | None = Field(default=None, description="a file or a TFDS name")
    validation: str | None = Field(default=None, description="a file or a TFDS name")
    test: str | None = Field(default=None, description="a file or a TFDS name")
    columns: Names | None = Field(default=None, min_length=1, description="a list of column names")
    max_input_tokens: int = Field(
        default=512, gt=0, description=f"{_WHOLE_NUMBER} (tokens, the end of sequence included)"
    )
    max_target_tokens: int | None = Field(
        default=None, gt=0, description=f"{_WHOLE_NUMBER} (tokens, the end of sequence included), or null"
    )
    target_format: TargetFormat = Field(default="text", description="text or sentinel")


def _method_tag(value: Any) -> str:
    """Return the name of the method that a section is of; prompt tuning's where it says none."""
    method = value.get("method", "prompt_tuning") if isinstance(value, Mapping) else getattr(value, "method", "")
    return method if isinstance(method, str) and method in METHODS else _UNKNOWN_METHOD


def method_section(value: Any) -> type[MethodConfig]:
    """Return the class of a section `prompt`, from its value; that of prompt tuning where its method is not known."""
    tag = _method_tag(value)
    return PromptTuningConfig if tag == _UNKNOWN_METHOD else METHODS[tag].config


_UNKNOWN_METHOD = "unknown method"
if TYPE_CHECKING:
    AnyMethodConfig = MethodConfig
else:
    # The section `prompt` of a config, of whichever method it names.
    _Methods = Union[tuple(Annotated[row.config, Tag(name)] for name, row in METHODS.items())]  # noqa: UP007
    AnyMethodConfig = Annotated[_Methods, Discriminator(_method_tag)]


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
    optimizer: Literal["adafactor", "adam", "autoprompt"] = Field(
        default="adafactor", description="adafactor, adam, or autoprompt (a search for pieces of the vocabulary)"
    )
    search_candidates: int = Field(
        default=10, gt=0, description=f"{_WHOLE_NUMBER} (of autoprompt: pieces that are tried at a position)"
    )
    search_window: int = Field(default=10, gt=0, description=f"{_WHOLE_NUMBER} (of autoprompt: batches of one search)")
    learning_rate: float = Field(default=0.3, gt=0, description="a number above 0 (per step)")
    schedule: Literal["constant", "cosine"] = Field(default="constant", description="constant or cosine (down to 0)")
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


def _task_tag(value: Any) -> str | None:
    if isinstance(value, Mapping | TaskConfig):
        return _UNION_TAGS[0]
    return _UNION_TAGS[1] if isinstance(value, list | tuple) else None


_Tasks = Annotated[tuple[TaskConfig, ...], BeforeValidator(_as_tuple), Field(min_length=1)]


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
        to the file that names them; `${NAME}` in a source is an environment variable.
      overrides: such as "training.steps=50", laid on top in order; their paths are relative to the working directory.

    Raises:
      ConfigError: names file, line, key, what was received and what is right.

    Examples:
      >>> from softprompt_tf.config import load_config
      >>> config = load_config("run.yaml", ["training.steps=50"])
      >>> config.training.steps
      50
    """
    tree = read_tree(Path(path), localise=_localise_run)
    if {"inputs", "name"} <= tree.values.keys() and "task" not in tree.values:
        raise ConfigError(
            f"A run's config must have the key `task`. Received: {path}, which is a task file. Write a config of a run"
            f" with `task: {Path(path).name}` (`softprompt configs runs` lists examples)."
        )
    for override in overrides:
        apply_override(tree, override, localise=_localise_run)
    _drop_settings_of_other_methods(tree)
    return _validated(RunConfig, tree)


def run_config(values: Mapping[str, Any], overrides: Sequence[str] = ()) -> RunConfig:
    """Check the config of a run given as a mapping; names of files are relative to the working directory.

    Raises:
      ConfigError: as `load_config`.
    """
    tree = Tree({str(key): value for key, value in values.items()}, {(): "the run's mapping"})
    _localise_run(tree, Path.cwd())
    for override in overrides:
        apply_override(tree, override, localise=_localise_run)
    return _validated(RunConfig, tree)


def load_task_config(path: str | Path) -> TaskConfig:
    """Read one task file, whose sources are relative to its own directory; `include` works as in `load_config`.

    Raises:
      ConfigError: as `load_config`.
    """
    tree = _read_task(Path(path))
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
    _localise_task(tree, Path.cwd())
    return _validated(TaskConfig, tree)


def dump_config(config: RunConfig) -> str:
    """Write a config as YAML that `load_config` reads back to an equal config, from any directory."""
    return dump_yaml(config.model_dump(mode="json"))


# === What one file says, made independent of its directory ===


def _localise_run(tree: Tree, directory: Path) -> None:
    task = tree.values.get("task")
    if isinstance(task, tuple):
        tree.values["task"] = tuple(
            _task_values(tree, item, directory, ("task", str(number))) for number, item in enumerate(task)
        )
    elif task is not None:
        tree.values["task"] = _task_values(tree, task, directory, ("task",))
    prompt = tree.values.get("prompt")
    init = prompt.get("init") if isinstance(prompt, dict) else None
    kind, _, path = init.partition(":") if isinstance(init, str) else ("", "", "")
    is_name = path == BUNDLED and kind != "file" and not (directory / path).exists()
    if kind in ("file", "source", "best_source") and path and not is_name:
        place = tree.place(("prompt", "init"))
        name = resolve_source(path, directory=directory, key="prompt.init", place=place)
        prompt["init"] = f"{kind}:{(directory / name).absolute()}"  # type: ignore[index]
    _localise_teachers(tree, directory)
    sources = prompt.get("sources") if isinstance(prompt, dict) else None
    if isinstance(sources, list | tuple):
        place = tree.place(("prompt", "sources"))
        local = (_local_file(each, directory=directory, key="prompt.sources", place=place) for each in sources)
        prompt["sources"] = tuple(local)  # type: ignore[index]
    language = prompt.get("language") if isinstance(prompt, dict) else None
    if isinstance(language, str) and language:
        place = tree.place(("prompt", "language"))
        name = resolve_source(language, directory=directory, key="prompt.language", place=place)
        prompt["language"] = str((directory / name).absolute())  # type: ignore[index]


def _localise_teachers(tree: Tree, directory: Path) -> None:
    training = tree.values.get("training")
    teachers = training.get("distill_from") if isinstance(training, dict) else None
    if not isinstance(training, dict) or teachers is None:
        return
    key = "training.distill_from"
    local = partial(_local_file, directory=directory, key=key, place=tree.place(("training", "distill_from")))
    if isinstance(teachers, dict):
        training["distill_from"] = {task: local(path) for task, path in teachers.items()}
    else:
        training["distill_from"] = local(teachers)


def _local_file(path: Any, *, directory: Path, key: str, place: str) -> Any:
    """Return the path of a file that a config names, absolute; what is no path comes back as it is."""
    if not isinstance(path, str) or not path:
        return path
    return str((directory / resolve_source(path, directory=directory, key=key, place=place)).absolute())


def _task_values(tree: Tree, task: Any, directory: Path, path: KeyPath) -> Any:
    if isinstance(task, str):
        read = _read_task(directory / task)
        tree.places.update({(*path, *below): place for below, place in read.places.items()})
        tree.whole.add(path)
        return read.values
    if isinstance(task, dict):
        _resolve_sources(tree, task, directory, path)
    return task


def _read_task(path: Path) -> Tree:
    return read_tree(path, localise=_localise_task)


def _localise_task(tree: Tree, directory: Path) -> None:
    _resolve_sources(tree, tree.values, directory, ())


def _resolve_sources(tree: Tree, task: dict[str, Any], directory: Path, path: KeyPath) -> None:
    for split in SPLITS:
        if isinstance(task.get(split), str):
            here = (*path, split)
            task[split] = resolve_source(task[split], directory=directory, key=".".join(here), place=tree.place(here))


def _drop_settings_of_other_methods(tree: Tree) -> None:
    """Take out what an included file set for another method than the one that is named elsewhere."""
    prompt = tree.values.get("prompt")
    if not isinstance(prompt, dict) or prompt.get("method") not in tuple(METHODS):
        return
    method = str(prompt["method"])
    known = {key for row in METHODS.values() for key in row.config.model_fields}
    named_in = _file_of(tree.place(("prompt", "method")))
    for key in sorted(known & set(prompt) - set(METHODS[method].config.model_fields)):
        place = tree.place(("prompt", key))
        if not place.startswith("override") and _file_of(place) != named_in:
            del prompt[key]


def _file_of(place: str) -> str:
    return place.rpartition(":")[0] or place


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
