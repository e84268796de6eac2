"""What a migration can be told, and what it keeps of that, so that it goes on only as it began."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from softprompt_tf.config import TrainingConfig
from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.files.atomic_file import write_atomically
from softprompt_tf.methods.recycling import WAYS
from softprompt_tf.settings.setting_changes import setting_changes
from softprompt_tf.settings.spelling import nearest

FORMAT = "softprompt-tf-migration/1"
NO_RECYCLING = "none"
DEFAULT_LENGTH = 20  # of a student whose task has no prompt in front of its text


def default_training() -> TrainingConfig:
    """Return the paper's recipe with fewer steps."""
    return TrainingConfig(steps=1000, evaluate_every=100, checkpoint_every=100)


@dataclass(frozen=True)
class MigrationSettings:
    """How tasks are distilled.

    Args:
      length: P of the new prompts. Default None: that of the task's prompt, or 20 where it has none.
      training: steps, rate and all else of a training; strategies and cached states are not used.
      recycle: how the old prompt becomes the start of the new one, see `recycled_rows`; "none": the new prompt starts
        from the task's labels.
      held_out: the share of the lines that is not trained on. The first half of it chooses the best step, the other half
        gives the agreement.
      seed: of the split, the first values and the order of the rows.

    Raises:
      ConfigError: if a value is out of range.
    """

    length: int | None = None
    training: TrainingConfig = field(default_factory=default_training)
    recycle: str = "v2v-lin"
    held_out: float = 0.2
    seed: int = 1

    def __post_init__(self) -> None:
        if self.length is not None and self.length < 1:
            raise ConfigError(f"`length` must be a whole number above 0. Received: {self.length}.")
        if self.recycle not in (*WAYS, NO_RECYCLING):
            known = (*WAYS, NO_RECYCLING)
            raise ConfigError(
                f"`recycle` must be one of {', '.join(known)}. Received: {self.recycle!r}.{nearest(self.recycle, known)}"
            )
        if not 0 < self.held_out < 1:
            raise ConfigError(f"`held_out` must be a share above 0 and below 1. Received: {self.held_out}.")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"`seed` must be a whole number from 0 up. Received: {self.seed}.")

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return {**vars(self), "training": self.training.model_dump(mode="json", exclude={"devices"})}


def check_same_migration(
    path: Path, settings: Mapping[str, Any], *, lines: Mapping[str, str], prompts: Mapping[str, str]
) -> None:
    """Keep what a migration began with, or refuse to go on with something else; further tasks may join.

    Args:
      path: the file that keeps it.
      settings: JSON values.
      lines: task id -> a digest of its lines.
      prompts: task id -> a digest of what the export has of it.

    Raises:
      TrainingError: names each setting that differs, or says that the file cannot be read.
    """
    of_tasks = {"lines": lines, "prompts": prompts}
    began = _read(path) if path.is_file() else {**settings, **of_tasks}
    kept = {key: began.get(key, {}) for key in of_tasks}  # earlier versions kept no `prompts`
    now = json.loads(json.dumps({**settings, **{key: {**kept[key], **own} for key, own in of_tasks.items()}}))
    changes = setting_changes({**began, **{key: {**own, **kept[key]} for key, own in of_tasks.items()}}, now)
    if changes:
        raise TrainingError(
            f"A migration goes on as it began. Received: {'; '.join(changes)} in {path.parent}. Take back the change, or choose "
            "another output directory to start a new one."
        )
    content = json.dumps({"format": FORMAT, **now}, indent=2) + "\n"
    write_atomically(path, content.encode("utf-8"), error_type=TrainingError)


def _read(path: Path) -> dict[str, Any]:
    try:
        began = json.loads(path.read_text(encoding="utf-8"))
        if began.pop("format") != FORMAT or not isinstance(began["lines"], dict):
            raise ValueError(f"its format is not {FORMAT}")
        return dict(began)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(
            f"{path} must hold the settings of a migration. Received: {error!r}. Choose another output directory."
        ) from error
