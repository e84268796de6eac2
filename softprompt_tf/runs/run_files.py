"""The files of a run directory: what they are called, and whether those that are there are a run's own."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from softprompt_tf.config import RunConfig, dump_config
from softprompt_tf.errors import TrainingError
from softprompt_tf.files.new_files import check_no_others
from softprompt_tf.files.portable_names import file_names
from softprompt_tf.runs.run_identity import FORMAT, RECORD_FILE

CONFIG_FILE = "config.yaml"
METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.jsonl"


def prompt_files(config: RunConfig, tasks: Sequence[str]) -> Mapping[str, Path]:
    """Return where a run writes its prompts, by the names of its tasks."""
    names = {tasks[0]: "prompt"} if len(tasks) == 1 else file_names(tasks)
    return {task: Path(config.output_dir) / f"{name}.safetensors" for task, name in names.items()}


def check_is_free(config: RunConfig, tasks: Sequence[str]) -> None:
    """Refuse a directory with files that a run would write over, for a run that has no checkpoint there.

    Results are always refused: those of a finished run, too, whose checkpoints were deleted. Settings and digests may be there
    from a start that ended before its first checkpoint.

    Args:
      config: of the run.
      tasks: their names.

    Raises:
      TrainingError: names the first of these files.
    """
    directory = Path(config.output_dir)
    names = [*(file.name for file in prompt_files(config, tasks).values()), METRICS_FILE, PREDICTIONS_FILE]
    if not _is_record(directory / RECORD_FILE):
        names.append(RECORD_FILE)
        if not _is_the_same(directory / CONFIG_FILE, dump_config(config)):
            names.append(CONFIG_FILE)
    check_no_others(directory, names, error_type=TrainingError)


def _is_record(path: Path) -> bool:
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        return bool(json.loads(path.read_text(encoding="utf-8"))["format"] == FORMAT)
    return False


def _is_the_same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode("utf-8")
