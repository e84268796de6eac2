"""Write one version of a SavedModel from a frozen T5 and task prompts, completely and checked, or not at all."""

import dataclasses
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.backbones.passes.placed import without_devices
from softprompt_tf.errors import ExportError
from softprompt_tf.export.graph.served_backbone import ExportRecord, ServedBackbone, record_of
from softprompt_tf.export.graph.served_prompts import ServedPrompt, load_served_prompts
from softprompt_tf.export.graph.served_tasks import ServedTasks, serve_tasks, without_tasks
from softprompt_tf.export.graph.serving_module import ServingModule
from softprompt_tf.export.graph.stored_rows import as_stored
from softprompt_tf.export.versions.export_files import write_fingerprint
from softprompt_tf.export.versions.task_shards import write_tasks
from softprompt_tf.export.versions.verify import verify_saved_model
from softprompt_tf.export.versions.version_directory import publish, staged_version
from softprompt_tf.export.versions.version_numbers import check_version, next_version
from softprompt_tf.export.versions.warmup import write_warmup_requests
from softprompt_tf.files.local_paths import local_target
from softprompt_tf.inference.decoding import Sampler, get_sampler
from softprompt_tf.methods.task_tensors import row_shape
from softprompt_tf.progress import Progress
from softprompt_tf.version import __version__


def write_saved_model(
    directory: str | Path,
    t5: FrozenT5,
    prompts: Mapping[str, ServedPrompt],
    *,
    version: int | None = None,
    sampler: str | Sampler = "greedy",
    verify: bool = True,
    table_dtype: str = "float32",
) -> Path:
    """Write the next version of a served model.

    The version is made under a name that no server looks at, checked there, and renamed in one move; where anything fails,
    the directory is left as it was.

    Args:
      directory: the model's base directory, as `--model_base_path` takes it; made if it does not exist.
      t5: the frozen T5. The graph computes in its dtype.
      prompts: task id -> prompt file (`.safetensors`, `.npy`, a PEFT folder), loaded prompt, `PromptedT5` or array [P, H];
        or a list of several prompts of one task, which vote as in `PromptEnsemble`.
      version: the version's number, 0 or more, and above all that are there. Default: one more than the highest.
      sampler: how the served model decodes, as in `PromptedT5.compile`.
      verify: run the written model through TensorFlow's C API in another process and compare it with Keras.
      table_dtype: how the prompts of this version, and of those that tasks are added to, are stored: "float32", or in half
        the bytes "bfloat16" (8 bits of precision) or "float16" (11 bits, up to 65,504).

    Returns:
      The version directory, DIRECTORY/VERSION.

    Raises:
      ExportError: if the directory is remote, the version is negative, exists already or is below the newest, it cannot be
        written, or `prompts` holds something else.
      VerificationError: if the written model does not answer as Keras does.
      PromptFileError, BackboneMismatchError: if a prompt cannot be read or does not fit.

    Examples:
      >>> from softprompt_tf.export import write_saved_model
      >>> version = write_saved_model("exports/t5", t5, {"film": "film.safetensors"})
      >>> version.name
      '1'
    """
    if not isinstance(t5, FrozenT5):
        hint = "Pass its `t5`." if isinstance(getattr(t5, "t5", None), FrozenT5) else "Load one with `load_t5`."
        raise ExportError(f"`t5` must be a FrozenT5. Received: {type(t5).__name__}. {hint}")
    base = local_target(directory, error_type=ExportError)
    check_version(base, version)
    loaded = {
        task: tuple(as_stored(member, table_dtype) for member in members)
        for task, members in load_served_prompts(prompts).items()
    }
    backbone = ServedBackbone.of(t5)
    tasks = serve_tasks(backbone, loaded)
    record = ExportRecord(
        backbone=record_of(backbone, with_sizes=len(tasks.tensors) > 1),
        max_answer_tokens=None,
        table_dtype=table_dtype,
        sampler=None,
        library_version=__version__,
        compute_dtype=None if t5.compute_dtype == "float32" else t5.compute_dtype,
    )
    with staged_version(base) as staging:
        chosen = get_sampler(sampler)
        write_version_files(staging, t5, tasks, dataclasses.replace(record, sampler=_config_of(chosen)), chosen)
        if verify:
            verify_saved_model(staging, t5, loaded, sampler=chosen)
        while True:
            number = version if version is not None else next_version(base)
            still_fits = partial(_is_next, base, number, may_leave_out=version is not None)
            if publish(staging, base / str(number), still_fits=still_fits):
                return base / str(number)
            check_version(base, version)


def _is_next(base: Path, number: int, *, may_leave_out: bool) -> bool:
    following = next_version(base)
    return number == following or (may_leave_out and number > following)


def write_version_files(
    staging: Path, t5: FrozenT5, tasks: ServedTasks, record: ExportRecord, sampler: Sampler
) -> None:
    """Write graph, weights, tasks, warm-up requests and record into an empty directory."""
    with Progress(2, unit="part", what="Writing graph and weights", has_rate=False) as progress:
        _write_graph(staging, t5, tuple(tasks.tensors), table_dtype=record.table_dtype, sampler=sampler)
        progress.advance()
        progress.stage("Writing tasks")
        write_tasks(staging, staging, tasks, table_dtype=record.table_dtype)
        write_fingerprint(staging, staging)
        write_warmup_requests(staging, tasks.task_ids, hidden_dim=t5.hidden_dim)
        record.write(staging)
        progress.advance()


def _write_graph(staging: Path, t5: FrozenT5, tensors: tuple[str, ...], *, table_dtype: str, sampler: Sampler) -> None:
    """Trace and save the graph and the weights, with no tasks, so that they are the same for all.

    The graph has tables of the tensors that the tasks have, so that prompts alone cost nothing more.
    """
    module = ServingModule(
        t5,
        without_tasks(t5.hidden_dim),
        sampler=sampler,
        table_dtype=table_dtype,
        row_shapes={name: row_shape(name, t5.sizes) for name in tensors},
    )
    with without_devices():
        tf.saved_model.save(module, str(staging), signatures=module.signatures())


def _config_of(sampler: Sampler) -> dict[str, Any] | None:
    """Return a sampler as Keras serializes it; None for one that JSON cannot hold.

    A class that is registered is found by that name, so the module that it is in now is left out.
    """
    if not hasattr(sampler, "get_config"):
        return None
    config: dict[str, Any] = keras.saving.serialize_keras_object(sampler)
    if config.get("registered_name"):
        config = {**config, "module": None}
    try:
        return json.loads(json.dumps(config))
    except TypeError:
        return None
