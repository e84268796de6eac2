"""Distil every task of an export onto another backbone, task by task, resumably, and say how far the answers agree.

OUTPUT/TASK.safetensors    the task on the new backbone; `softprompt export` takes it
OUTPUT/agreement.json      the table, also of tasks that failed
OUTPUT/migration.json      what the migration began with
OUTPUT/work/               the old model's answers, checkpoints and results, which an interrupted migration goes on from
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from softprompt_tf.backbones import FrozenT5, load_t5
from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.export.graph.served_tasks import ServedTask
from softprompt_tf.files.directory_lock import locked
from softprompt_tf.files.local_paths import local_target
from softprompt_tf.files.new_files import check_no_others
from softprompt_tf.files.portable_names import file_names, own_name
from softprompt_tf.migration.agreement import TaskAgreement
from softprompt_tf.migration.lines import TaskLines, lines_of
from softprompt_tf.migration.settings import MigrationSettings, check_same_migration
from softprompt_tf.migration.teacher import Teacher
from softprompt_tf.migration.work import MigrationWork, digest_of
from softprompt_tf.progress import say
from softprompt_tf.settings.spelling import nearest

SETTINGS = "migration.json"


@dataclass(frozen=True)
class Migration:
    """What a migration left behind.

    Args:
      tasks: each task's agreement, in the order of the export.
      output_dir: where the task files are.
    """

    tasks: tuple[TaskAgreement, ...]
    output_dir: Path

    @property
    def prompts(self) -> dict[str, Path]:
        """Task id -> task file, of those that did not fail."""
        return {task.task_id: self.output_dir / task.prompt for task in self.tasks if not task.error}


def migrate(
    export: str | Path,
    backbone: str | FrozenT5,
    lines: TaskLines | Sequence[str],
    output_dir: str | Path,
    *,
    task_ids: Sequence[str] | None = None,
    settings: MigrationSettings | None = None,
) -> Migration:
    """Train a prompt for each task of an export on another backbone, to answer as the export does.

    The export itself answers the lines; its old backbone is not needed in another form. A task with labels is distilled from
    the probabilities of the labels, a generating task from the texts that were written. An ensemble, or a task of another
    method, becomes one prompt. Called again with the same arguments, a migration continues where it was interrupted, and tries
    failed tasks again.

    Args:
      export: a model's base directory, whose newest version is taken, or a version's directory.
      backbone: the new T5, or what `load_t5` takes.
      lines: unlabelled texts as a request would bring them, for all tasks; or task id -> its own, with "" for all others. For
        a task whose template has several fields a line is the complete rendered input.
      output_dir: where the prompt files go.
      task_ids: migrate only these. Default: all.
      settings: of the training, the start and the comparison.

    Raises:
      ExportError: if there is no export that this library can read.
      ConfigError: if a task is unknown or has no lines.
      TrainingError: if the directory holds another migration, or files where this one would write, or another process is using
        it.

    Returns:
      Migration; a task that failed has an `error`, and the others are there.

    Examples:
      >>> from softprompt_tf.migration import migrate
      >>> result = migrate("exports/t5", "t5_1.1_base", ["a dull film"], "migrated")  # doctest: +SKIP
    """
    output = local_target(output_dir, error_type=TrainingError)
    settings = settings or MigrationSettings()
    teacher = Teacher(export)
    tasks = _chosen(teacher, task_ids)
    own = lines_of(list(tasks), lines if isinstance(lines, Mapping) else {"": lines})
    with locked(output, error_type=TrainingError):
        if not (output / SETTINGS).exists():
            files = [f"{name}.safetensors" for name in file_names(teacher.tasks).values()]
            check_no_others(output, ["work", "agreement.json", *files], error_type=TrainingError)
        t5 = _loaded(backbone, settings)
        if t5.fingerprint == teacher.fingerprint:
            say(f"The new backbone {t5.name} has the weights of the export's.")
        name = t5.name if isinstance(backbone, FrozenT5) else backbone
        digests = {task: digest_of(list(each)) for task, each in own.items()}
        identity = _identity(teacher, t5, settings)
        prompts = {task: each for task, each in teacher.digests().items() if task in tasks}
        check_same_migration(output / SETTINGS, identity, lines=digests, prompts=prompts)
        work = MigrationWork(output, teacher, t5, name, settings, identity, digests)
        return Migration(work.run(tasks, own), output)


def _chosen(teacher: Teacher, task_ids: Sequence[str] | None) -> dict[str, ServedTask]:
    if isinstance(task_ids, str):
        raise ConfigError(f"`task_ids` must be a list of names. Received: {task_ids!r}. Write [{task_ids!r}].")
    unknown = [name for name in task_ids or () if name not in teacher.tasks]
    if unknown or (task_ids is not None and not len(task_ids)):
        received = unknown[0] if unknown else "none"
        raise ConfigError(
            f"A task to migrate must be one of the export's. Received: {received}.{nearest(received, teacher.tasks)}"
        )
    return {name: task for name, task in teacher.tasks.items() if task_ids is None or name in task_ids}


def _loaded(backbone: str | FrozenT5, settings: MigrationSettings) -> FrozenT5:
    if isinstance(backbone, FrozenT5):
        return backbone
    return load_t5(backbone, dtype=settings.training.precision, devices=settings.training.devices)


def _identity(teacher: Teacher, t5: FrozenT5, settings: MigrationSettings) -> dict[str, object]:
    """Return what decides the result, but for the lines."""
    return {
        "export": own_name(str(teacher.directory.absolute().parent)),
        "version": teacher.directory.name,
        "old_backbone": f"{teacher.backbone_name} ({teacher.fingerprint})",
        "new_backbone": f"{own_name(t5.name)} ({t5.fingerprint})",
        **settings.to_json(),
    }
