"""Choose the trained prompt that a run starts from, out of a directory of them, and train from it.

OUTPUT/source.json    the chosen prompt, with the similarity or the score of each
OUTPUT/source/        the short runs that the choice is made by

Source: Vu et al. 2022, SPoT, arXiv:2110.07904: a task starts from the prompt of a source task, which is retrieved by the
similarity of prompts, or is the one that does best.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from softprompt_tf.backbones.bundled import bundled_prompts
from softprompt_tf.config import RunConfig
from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.files.atomic_file import write_atomically
from softprompt_tf.interpretability.sources import read_sources, similar_sources, why_not
from softprompt_tf.methods import TaskPrompt, load_prompt
from softprompt_tf.methods.initializers import BEST_SOURCE, BUNDLED, SOURCE
from softprompt_tf.methods.task_tensors import METHOD_TENSORS, PROMPT
from softprompt_tf.progress import say
from softprompt_tf.runs import run
from softprompt_tf.runs.run_identity import config_digest
from softprompt_tf.shown_numbers import counted
from softprompt_tf.tasks import score
from softprompt_tf.training.distribution import check_is_one_process
from softprompt_tf.training.saved_run import Checkpoints

CHOICE_FILE = "source.json"
SHORT_SHARE = 10  # a short run has so many times fewer steps


def train_from_sources(config: RunConfig, *, on_start: Callable[[], None] | None = None) -> run.RunResult:
    """Do as `train_run`, from the prompt of a directory where the config's `prompt.init` is `source:` or `best_source:`.

    `source:DIRECTORY` trains the task for a tenth of the steps and starts from the prompt that is most similar to the result,
    by the mean cosine over all pairs of vectors. `best_source:DIRECTORY` trains so long from each prompt, and starts from the
    one with the best score on the dev split. In place of a directory, `bundled` stands for the prompts that ship with the
    backbone. A run that goes on keeps its choice; a start with other settings, before there is a checkpoint, chooses again.

    Raises:
      ConfigError: if the run has several tasks, its method keeps no prompt in front of the text, or no prompt that is there
        fits.
      DataError, PromptFileError: if the directory cannot be read.
      TrainingError: as `train_run`, or if OUTPUT/source.json holds something else.
    """
    init = config.prompt.first_values
    if not init.startswith((SOURCE, BEST_SOURCE)):
        return run.train_run(config, on_start=on_start)
    _check(config, init.partition(":")[0])
    output_dir = Path(config.output_dir)
    path = _kept(config, output_dir, init) or _chosen(config, output_dir, init)
    return run.train_run(_with(config, init=f"file:{path}"), on_start=on_start)


def _check(config: RunConfig, kind: str) -> None:
    check_is_one_process(config.training.strategy, f"The choice of `prompt.init` with `{kind}:`")
    if len(config.tasks) > 1:
        raise ConfigError(
            f"`prompt.init` with `{kind}:` is for a run of one task. Received: {len(config.tasks)} tasks."
        )
    method = config.prompt.method
    if method not in METHOD_TENSORS or PROMPT not in METHOD_TENSORS[method].required:
        raise ConfigError(
            f"`prompt.init` with `{kind}:` is for methods whose tasks keep a prompt in front of the text. "
            f"Received: prompt.method={method}. Name a file: file:PATH."
        )


def _chosen(config: RunConfig, output_dir: Path, init: str) -> Path:
    kind, _, directory = init.partition(":")
    sources = read_sources([_library(config, directory.strip())])
    choose = _most_similar if f"{kind}:" == SOURCE else _best
    values = choose(config, output_dir / "source", sources)
    chosen = max(values, key=lambda path: values[path])  # of equal ones the first
    told = {path.name: value for path, value in values.items()}
    content = {"init": init, "config": config_digest(config), "chosen": str(chosen), "values": told}
    write_atomically(
        output_dir / CHOICE_FILE, (json.dumps(content, indent=2) + "\n").encode(), error_type=TrainingError
    )
    say(
        f"Starts from {chosen.name}, {'the most similar' if kind == 'source' else 'the best'} of {counted(len(values), 'prompt')}"
    )
    return chosen


def _library(config: RunConfig, directory: str) -> str | Path:
    """Return the directory of prompts, or where the name `bundled` stands for it those that ship with the backbone."""
    if directory != BUNDLED or Path(directory).is_dir():
        return directory
    place = bundled_prompts(config.backbone)
    if place is None:
        raise ConfigError(
            f"No prompts ship with this backbone. Received: {config.backbone}. Name a directory of your own: {SOURCE}DIRECTORY."
        )
    return place


def _most_similar(config: RunConfig, place: Path, sources: Mapping[Path, TaskPrompt]) -> dict[Path, float]:
    """Return each fitting prompt's similarity to the task's own after a short training."""
    words = set((config.tasks[0].labels or {}).values())
    init = "class_labels" if len(words) <= _length(config) else "sampled_vocabulary"
    short = run.train_run(_short(config, place / "target", init))
    prompt = load_prompt(next(iter(short.prompts.values())))
    fitting = _fitting(sources, prompt)
    ranked = similar_sources(prompt, fitting)
    return {each.path: each.cosine for each in ranked.fitting}


def _best(config: RunConfig, place: Path, sources: Mapping[Path, TaskPrompt]) -> dict[Path, float]:
    """Return each prompt's dev score after a short training from it."""
    values = {}
    for path, source in sources.items():
        if len(source.tensors) != 1 or source.length != _length(config):
            say(f"{path.name} is left out: its tensors are not one prompt of the run's length.")
            continue
        result = run.train_run(_short(config, place / path.name, f"file:{path}"))
        values[path] = score(next(iter(result.scores.values())).metrics)
    return _checked(values, sources)


def _fitting(sources: Mapping[Path, TaskPrompt], prompt: TaskPrompt) -> dict[Path, TaskPrompt]:
    fitting = {}
    for path, source in sources.items():
        reason = why_not(source, prompt)
        if not reason and source.prompt.shape != prompt.prompt.shape:
            reason = f"It has {counted(source.length, 'row')}, not {prompt.length}."
        if reason:
            say(f"{path.name} is left out. {reason}")
        else:
            fitting[path] = source
    return _checked(fitting, sources)


def _checked(fitting: dict[Path, Any], sources: Mapping[Path, TaskPrompt]) -> dict[Path, Any]:
    if not fitting:
        raise ConfigError(
            f"A run starts from a prompt that fits it. Received: {', '.join(path.name for path in sources)}, of which none does."
        )
    return fitting


def _length(config: RunConfig) -> int:
    return int(config.prompt.length)  # type: ignore[attr-defined]  # of every method that has an `init`


def _short(config: RunConfig, place: Path, init: str) -> RunConfig:
    """Return the config of a short run, whose test rows are not scored."""
    steps = max(1, config.training.steps // SHORT_SHARE)
    training = config.training.model_copy(
        update={"steps": steps, "evaluate_every": min(steps, config.training.evaluate_every)}
    )
    task = config.tasks[0].model_copy(update={"test": None})
    return _with(config, init=init).model_copy(update={"training": training, "task": task, "output_dir": str(place)})


def _with(config: RunConfig, *, init: str) -> RunConfig:
    return config.model_copy(update={"prompt": config.prompt.model_copy(update={"init": init})})


def _kept(config: RunConfig, output_dir: Path, init: str) -> Path | None:
    """Return what was chosen before for the same `init` and settings, where it is still there."""
    file = output_dir / CHOICE_FILE
    if not file.is_file():
        return None
    try:
        kept = json.loads(file.read_text("utf-8"))
        path, of_init = Path(kept["chosen"]), kept["init"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{file} must hold the prompt that was chosen. Received: {error!r}. Choose another output directory, or move it away."
        ) from error
    # The settings of a run with a checkpoint are checked where it goes on.
    is_for_it = kept.get("config") == config_digest(config) or Checkpoints(output_dir / "checkpoints").are_there()
    return path if of_init == init and is_for_it and path.is_file() else None
