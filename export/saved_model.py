"""A frozen T5 and task prompts in, one version directory of a SavedModel out, whole and checked or not at all."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf

from softprompt_tf.decoding import Sampler, get_sampler
from softprompt_tf.errors import ExportError
from softprompt_tf.export.served_tasks import build_served_tasks
from softprompt_tf.export.serving_module import ServingModule
from softprompt_tf.export.verify import verify_saved_model
from softprompt_tf.export.warmup import write_warmup_requests
from softprompt_tf.prompts import TaskPrompt, load_prompt
from softprompt_tf.t5 import FrozenT5


def write_saved_model(
    directory: str | Path,
    t5: FrozenT5,
    prompts: Mapping[str, str | Path | TaskPrompt],
    *,
    version: int | None = None,
    sampler: str | Sampler = "greedy",
    verify: bool = True,
) -> Path:
    """Write the next version of a served model.

    The version is made under a name that no server looks at, checked there, and renamed in one move; where anything fails,
    the directory is left as it was.

    Args:
      directory: the model's base directory, as `--model_base_path` takes it; made if it does not exist.
      t5: the frozen T5.
      prompts: task id -> prompt file (`.safetensors`, `.npy`, a PEFT folder) or loaded prompt.
      version: the version's number, 0 or more. Default: one more than the highest there.
      sampler: how the served model decodes, as in `PromptedT5.compile`.
      verify: run the written model through TensorFlow's C API in another process and compare it with Keras.

    Returns:
      The version directory, DIRECTORY/VERSION.

    Raises:
      ExportError: if the version is negative or exists already, or it cannot be written.
      VerificationError: if the written model does not answer as Keras does.
      PromptFileError, BackboneMismatchError: if a prompt cannot be read or does not fit.

    Example:
      >>> write_saved_model("exports/t5", t5, {"sst2": "sst2.safetensors", "rte": "rte.safetensors"})
    """
    if version is not None and version < 0:
        raise ExportError(f"`version` must be 0 or more. Received: version={version}. No server looks at others.")
    base = Path(directory)
    loaded = {task: _loaded(prompt) for task, prompt in prompts.items()}
    tasks = build_served_tasks(t5, loaded)
    if base.exists() and not base.is_dir():
        raise ExportError(f"The output must be a directory. Received: {base}, which is a file.")
    try:
        base.mkdir(parents=True, exist_ok=True)
        target = base / str(version if version is not None else _next_version(base))
        if target.exists():
            raise ExportError(f"A version that exists is never overwritten. Received: {target}. Leave `version` out.")
        staging = Path(tempfile.mkdtemp(prefix=".writing-", dir=base))
    except OSError as error:
        raise ExportError(f"The export to {base} cannot be written: {error}.") from error
    try:
        chosen = get_sampler(sampler)
        module = ServingModule(t5, tasks, sampler=chosen)
        tf.saved_model.save(module, str(staging), signatures=module.signatures())
        write_warmup_requests(staging, tasks)
        if verify:
            verify_saved_model(staging, t5, loaded, sampler=chosen)
        _sync(staging)
        staging.chmod(0o755)
        os.rename(staging, target)
    except (OSError, tf.errors.OpError) as error:
        raise ExportError(f"The export to {base} cannot be written: {error}.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def _loaded(prompt: str | Path | TaskPrompt) -> TaskPrompt:
    return prompt if isinstance(prompt, TaskPrompt) else load_prompt(prompt)


def _next_version(base: Path) -> int:
    return 1 + max((int(child.name) for child in base.iterdir() if child.name.isdecimal()), default=0)


def _sync(directory: Path) -> None:
    """Flush every file and directory to the disk, so that a version that is there after a crash is whole."""
    for path in [directory, *directory.rglob("*")]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
