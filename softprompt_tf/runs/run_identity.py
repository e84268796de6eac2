"""What makes a run this run: its settings, its rows and its backbone. A run that goes on is checked against what it began with.

OUTPUT/config.yaml   the settings
OUTPUT/run.json      digests of the rows and of the backbone
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from softprompt_tf.config import RunConfig, load_config
from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.files.atomic_file import write_atomically
from softprompt_tf.methods.family.method_config import without_later_defaults
from softprompt_tf.settings.setting_changes import setting_changes
from softprompt_tf.shown_numbers import counted
from softprompt_tf.tasks import LENGTH_BUCKETS, Example, Task
from softprompt_tf.tasks.data_digest import examples_digest, file_digest, file_facts
from softprompt_tf.training.checkpoint import check_same_run
from softprompt_tf.training.saved_run import Checkpoints

FORMAT = "softprompt-tf-run/1"
RECORD_FILE = "run.json"

# Settings that a run may be gone on with changed: they decide how long it runs, how it is watched and what memory it takes, not
# what a step does (gradient checkpointing, micro-batches and devices give the same numbers up to rounding).
FREE_SETTINGS = (
    "steps",
    "evaluate_every",
    "checkpoint_every",
    "early_stopping_patience",
    "gradient_checkpointing",
    "micro_batch_size",
    "devices",
    "states_directory",
)

# Keys of a task that came after the first version, with their defaults as YAML writes them.
_LATER_TASK_KEYS: Mapping[str, Any] = {
    "target_format": "text",
    "taskless": False,
    "preprocess": [],
    "preprocess_train": [],
    "postprocess": [],
    "references": None,
    "group_by": [],
}
_HINT = "Take back the change, or choose another `output_dir` to start a new run."


def config_digest(config: RunConfig) -> str:
    """Return a short text that differs where two configs would train different prompts."""
    values = _counted(config)
    for task in [values["task"]] if isinstance(values["task"], dict) else values["task"]:
        # A default is not counted, so that a checkpoint from before there was a choice still belongs to its run.
        for key, default in _LATER_TASK_KEYS.items():
            if task[key] == default:
                del task[key]
    values["prompt"] = without_later_defaults(values["prompt"])
    if config.training.schedule == "constant":
        del values["training"]["schedule"]
    if config.training.schedule != "cosine_restarts":
        del values["training"]["cycles"]
    if not config.training.warmup_steps:
        del values["training"]["warmup_steps"]
    if config.training.length_buckets == LENGTH_BUCKETS:
        del values["training"]["length_buckets"]
    if config.training.pad_to_multiple_of == 1:
        del values["training"]["pad_to_multiple_of"]
    if config.training.optimizer != "autoprompt":
        del values["training"]["search_candidates"], values["training"]["search_window"]
    if not config.training.prompt_dropout:
        del values["training"]["prompt_dropout"]
    for term in ("near_text", "distill_from"):
        if values["training"][term] is None:
            del values["training"][term], values["training"][f"{term.partition('_from')[0]}_weight"]
    if config.training.distill_from is None or not config.training.distill_hidden_weight:
        del values["training"]["distill_hidden_weight"]
    if config.training.cached_states == "auto":
        del values["training"]["cached_states"]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def check_settings(output_dir: Path, config: RunConfig) -> bool:
    """Refuse a directory that holds a run of other settings, before anything in it is written over.

    Returns:
      Whether the run has begun.

    Raises:
      TrainingError: names each setting that differs, with both values.
    """
    checkpoint = Checkpoints(output_dir / "checkpoints").newest()
    if checkpoint is None:
        return False
    digest = config_digest(config)
    changes = _changes(output_dir / "config.yaml", config) if checkpoint.config_digest != digest else []
    if changes:
        raise TrainingError(
            f"A run goes on with the config it began with. Received: {'; '.join(changes)} in {output_dir}. {_HINT}"
        )
    check_same_run(checkpoint, seed=config.seed, config_digest=digest)
    return True


class RunRecord:
    """The digests of a run's rows and backbone, kept beside its results.

    Args:
      output_dir: the run directory.
      has_begun: whether there is a run to go on with; else what is there is written over.
      is_kept: whether anything is written; of several workers only the chief writes.
    """

    def __init__(self, output_dir: Path, *, has_begun: bool, is_kept: bool = True):
        self._is_kept = is_kept
        self._path = output_dir / RECORD_FILE
        self._kept = _read(self._path) if has_begun and self._path.is_file() else {}

    def check_rows(self, rows: Mapping[str, Mapping[str, Sequence[Example]]], tasks: Sequence[Task]) -> None:
        """Refuse other rows than the run began with.

        Args:
          rows: task name -> split -> examples.
          tasks: the tasks, whose sources are named.

        Raises:
          TrainingError: names the file, with sizes, times and digests.
        """
        found = {
            f"{task.name}/{split}": _facts(getattr(task, split), examples)
            for task in tasks
            for split, examples in rows[task.name].items()
        }
        kept = self._kept.get("data", {})
        for key, facts in found.items():
            if key in kept and kept[key].get("sha256") != facts["sha256"]:
                raise TrainingError(
                    f"A run goes on with the data that it began with. Received: {key} with {_told(facts)}; the run in "
                    f"{self._path.parent} began with {_told(kept[key])}. Put the old data back, or choose another `output_dir` "
                    "to start a new run."
                )
        self._keep("data", {**found, **kept})

    def check_backbone(self, name: str, fingerprint: str) -> None:
        """Refuse a backbone of other weights than the run began with.

        Raises:
          TrainingError: with both fingerprints.
        """
        kept = self._kept.get("backbone", fingerprint)
        if kept != fingerprint:
            raise TrainingError(
                f"A run goes on with the backbone that it began with. Received: {name} with weights {fingerprint}; the run in "
                f"{self._path.parent} began with weights {kept}. {_HINT}"
            )
        self._keep("backbone", fingerprint)

    def check_first_values(self, init: str) -> None:
        """Refuse another content of the file that a prompt starts from (`file:PATH`) than the run began with.

        Raises:
          TrainingError: with both digests.
        """
        if init.startswith("file:"):
            self._check_file("prompt.init", Path(init.removeprefix("file:")), "first values")

    def check_teachers(self, teachers: str | Mapping[str, str] | None) -> None:
        """Refuse another content of the files that a prompt is taught by than the run began with.

        Raises:
          TrainingError: with both digests.
        """
        named = {"": teachers} if isinstance(teachers, str) else teachers or {}
        for task, path in named.items():
            self._check_file(f"training.distill_from {task}".strip(), Path(path), "teachers")

    def check_sources(self, sources: Sequence[str]) -> None:
        """Refuse another content of the files of source prompts than the run began with.

        Raises:
          TrainingError: with both digests.
        """
        for number, path in enumerate(sources):
            self._check_file(f"prompt.sources {number}", Path(path), "source prompts")

    def _check_file(self, key: str, path: Path, what: str) -> None:
        if not path.is_file():
            return
        found = file_digest(path)
        kept = self._kept.get(key, found)
        if kept != found:
            raise TrainingError(
                f"A run goes on with the {what} that it began with. Received: {path} with digest {found[:12]}; the run in "
                f"{self._path.parent} began with digest {kept[:12]}. {_HINT}"
            )
        self._keep(key, found)

    def _keep(self, key: str, value: Any) -> None:
        if self._kept.get(key) == value:
            return
        self._kept = {"format": FORMAT, **self._kept, key: value}
        if not self._is_kept:
            return
        content = json.dumps(self._kept, indent=2) + "\n"
        write_atomically(self._path, content.encode("utf-8"), error_type=TrainingError)


def _counted(config: RunConfig) -> dict[str, Any]:
    """Return the settings that decide a run's prompt."""
    values = config.model_dump(mode="json", exclude={"output_dir": True, "training": set(FREE_SETTINGS)})
    if config.training.schedule != "constant":
        values["training"]["steps"] = config.training.steps  # they decide the rate of every step
    return values


def _changes(path: Path, config: RunConfig) -> list[str]:
    """Return what differs from the config that a run was started with; [] where that cannot be read."""
    try:
        began = load_config(path)
    except (ConfigError, OSError):
        return []
    return setting_changes(_counted(began), _counted(config))


def _facts(source: Any, examples: Sequence[Example]) -> dict[str, object]:
    return {**file_facts(source), "rows": len(examples), "sha256": examples_digest(examples)}


def _told(facts: Mapping[str, Any]) -> str:
    file = f" in {facts['file']} ({counted(facts['bytes'], 'byte')}, of {facts['modified']})" if "file" in facts else ""
    return f"{facts.get('rows')} rows{file}, digest {str(facts.get('sha256'))[:12]}"


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        return dict(values)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise TrainingError(
            f"{path} must hold the digests of a run. Received: {error!r}. Without the file the run goes on with the data as they "
            "are now."
        ) from error
