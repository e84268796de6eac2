"""Check that tasks added to an export answer as Keras does."""

from collections.abc import Mapping
from pathlib import Path

import keras

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.errors import ExportError
from softprompt_tf.export.graph.served_backbone import ExportRecord
from softprompt_tf.export.graph.stored_rows import as_stored
from softprompt_tf.export.versions.verify import verify_saved_model
from softprompt_tf.methods import TaskPrompt


def check_comparable(t5: FrozenT5, record: ExportRecord) -> None:
    """Refuse a T5 that an export cannot be compared with.

    Raises:
      ExportError: if this is another T5 or computes in another dtype, or how the export decodes is not recorded.
    """
    if t5.fingerprint != record.backbone["fingerprint"]:
        raise ExportError(
            f"`t5` must be the export's backbone, {record.backbone['name']} (fingerprint {record.backbone['fingerprint']}). "
            f"Received: {t5.name} (fingerprint {t5.fingerprint})."
        )
    if record.compute_dtype not in (None, t5.compute_dtype):
        raise ExportError(
            f"`t5` must compute in {record.compute_dtype}, as the export does. Received: one that computes in {t5.compute_dtype}. "
            f"Load it with dtype='{record.compute_dtype}'."
        )
    if record.sampler is None:
        raise ExportError(
            "Keras must decode as the export does. Received: an export whose sampler cannot be recorded. Leave `t5` out."
        )


def compare_added_tasks(
    directory: Path, t5: FrozenT5, prompts: Mapping[str, tuple[TaskPrompt, ...]], *, record: ExportRecord
) -> None:
    """Compare some tasks of a version with Keras, as `verify_saved_model` does.

    Args:
      directory: the version.
      t5: the backbone that it serves.
      prompts: the tasks to compare, each with its prompts.
      record: what the version says of itself; `check_comparable` has passed it.

    Raises:
      VerificationError: if the answers differ.
    """
    stored = {
        task: tuple(as_stored(member, record.table_dtype) for member in members) for task, members in prompts.items()
    }
    sampler = keras.saving.deserialize_keras_object(dict(record.sampler or {}))
    verify_saved_model(directory, t5, stored, sampler=sampler)
