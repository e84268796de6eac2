"""Distil every task of an export onto another backbone, task by task, resumably, and say how far the answers agree.

OUTPUT/TASK.safetensors    the task on the new backbone; `softprompt export` takes it
OUTPUT/agreement.json      the table, also of tasks that failed
OUTPUT/migration.json      what the migration began with
OUTPUT/work/               the old model's answers, checkpoints and results, which an interrupted migration goes on from
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from softprompt_tf.backbones import FrozenT5, load_t5
from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.export.graph.served_tasks import ServedTask
from softprompt_tf.files.atomic_file import write_atomically
from softprompt_tf.files.directory_lock import locked
from softprompt_tf.files.local_paths import local_target
from softprompt_tf.files.portable_names import own_name
from softprompt_tf.methods.recycling import EmbeddedPieces
from softprompt_tf.migration.agreement import (
    TaskAgreement,
    agreement_metrics,
    mean_divergence,
    one_answer_share,
    share_of_same,
)
from softprompt_tf.migration.answers import Answers
from softprompt_tf.migration.kept_answers import asked_once
from softprompt_tf.migration.lines import SplitLines, TaskLines, lines_of, split_lines
from softprompt_tf.migration.settings import NO_RECYCLING, MigrationSettings, check_same_migration
from softprompt_tf.migration.student import (
    answers_of,
    length_of,
    new_model,
    rendered,
    start_of,
    target_limit,
    template_of,
    train_student,
)
from softprompt_tf.migration.teacher import Teacher
from softprompt_tf.model.prompted_t5 import PromptedT5
from softprompt_tf.progress import say
from softprompt_tf.settings.spelling import nearest


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
    method, becomes one prompt. Called again with the same arguments, a migration goes on where it was interrupted, and tries
    tasks again that failed.

    Args:
      export: a model's base directory, whose newest version is taken, or a version's directory.
      backbone: the new T5, or what `load_t5` takes.
      lines: unlabelled texts as a request would bring them, for all tasks; or task id -> its own, with "" for all others. For
        a task whose template has several fields a line is the whole rendered input.
      output_dir: where the task files go.
      task_ids: migrate only these. Default: all.
      settings: of the training, the start and the comparison.

    Raises:
      ExportError: if there is no export that this library can read.
      ConfigError: if a task is unknown or has no lines.
      TrainingError: if the directory holds another migration, or another process is using it.

    Returns:
      Migration; a task that failed has an `error`, and the others are there.

    Example:
      >>> migrate("exports/t5", "t5_1.1_base", open("texts.txt").read().splitlines(), "migrated")
    """
    output = local_target(output_dir, error_type=TrainingError)
    settings = settings or MigrationSettings()
    teacher = Teacher(export)
    tasks = _chosen(teacher, task_ids)
    own = lines_of(list(tasks), lines if isinstance(lines, Mapping) else {"": lines})
    with locked(output, error_type=TrainingError):
        t5 = _loaded(backbone, settings)
        if t5.fingerprint == teacher.fingerprint:
            say(f"The new backbone {t5.name} has the weights of the export's.")
        name = t5.name if isinstance(backbone, FrozenT5) else backbone
        digests = {task: _lines_digest(each) for task, each in own.items()}
        kept = _identity(teacher, t5, settings) | {"lines": digests}
        check_same_migration(output / "migration.json", kept)
        return _Work(output, teacher, t5, name, settings, kept).run(tasks, own)


class _Work:
    """One migration: the two models, and where everything goes."""

    def __init__(
        self,
        output: Path,
        teacher: Teacher,
        t5: FrozenT5,
        backbone: str,
        settings: MigrationSettings,
        identity: Mapping[str, object],
    ):
        self._output, self._teacher, self._t5 = output, teacher, t5
        self._backbone, self._settings, self._identity = backbone, settings, identity
        self._digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode("utf-8")).hexdigest()[:16]
        self._old: EmbeddedPieces | None = None

    def run(self, tasks: Mapping[str, ServedTask], lines: Mapping[str, Sequence[str]]) -> Migration:
        results = {name: self._finished(name) for name in tasks}
        errors: dict[str, str] = {}
        missing = [name for name, result in results.items() if result is None]
        asked = {}
        for name in missing:  # all at first, so that the old model's memory is free while the new one trains
            try:
                split = split_lines(
                    lines[name], held_out=self._settings.held_out, seed=self._settings.seed, task_id=name
                )
                asked[name] = split, asked_once(self._teacher, tasks[name], split, self._place(name, "answers.json"))
            except Exception as error:  # one task's failure must not cost the others
                errors[name] = _reason(error)
        self._teacher.forget_model()
        for name in asked:
            say(f"{name}: training on {len(asked[name][0].train):,} lines")
            try:
                results[name] = self._distilled(tasks[name], *asked[name])
            except Exception as error:
                errors[name] = _reason(error)
            self._write_table(results, errors)
        return Migration(self._write_table(results, errors), self._output)

    def _distilled(self, task: ServedTask, split: SplitLines, old: tuple[Answers, Answers, Answers]) -> TaskAgreement:
        train, dev, held_out = (rendered(task, part) for part in (split.train, split.dev, split.held_out))
        start = start_of(task, self._teacher.prompt_of(task), self._vocabulary(), self._t5, self._settings)
        model = new_model(task, start, self._t5, self._settings)
        at_start = share_of_same(old[2], answers_of(model, held_out))
        trained = train_student(
            model,
            task,
            train,
            old[0],
            evaluate=lambda: agreement_metrics(old[1], answers_of(model, dev)),
            settings=self._settings,
            checkpoint_dir=self._place(task.task_id, "checkpoints"),
            digest=self._digest,
        )
        new = answers_of(model, held_out)
        result = TaskAgreement(
            task.task_id,
            lines=len(train),
            held_out=len(held_out),
            start=start.text,
            at_start=at_start,
            agreement=share_of_same(old[2], new),
            one_answer=one_answer_share(old[0], old[2]),
            answers=len(set(old[0].texts)),
            kl=mean_divergence(old[2], new),
            best_step=trained.best_step,
            prompt=f"{_file_name(task.task_id)}.safetensors",
        )
        self._save(model, task, result)
        return result

    def _save(self, model: PromptedT5, task: ServedTask, result: TaskAgreement) -> None:
        metrics = {"agreement": result.agreement} | ({} if result.kl is None else {"kl": result.kl})
        model.save_prompt(
            self._output / result.prompt,
            task_id=task.task_id,
            template=template_of(task),
            labels=task.labels,
            max_input_tokens=task.max_input_tokens,
            max_target_tokens=target_limit(task, self._t5),
            metrics=metrics,
            training_config={
                "backbone": self._backbone,
                "seed": self._settings.seed,
                "migration": {
                    "from_backbone": self._teacher.backbone_name,
                    "from_method": task.method,
                    "length": length_of(task, self._settings),
                    "start": result.start,
                    "training": self._settings.training.model_dump(mode="json"),
                },
            },
        )
        content = json.dumps(dataclasses.asdict(result), indent=2) + "\n"
        write_atomically(self._place(task.task_id, "result.json"), content.encode("utf-8"), error_type=TrainingError)

    def _finished(self, name: str) -> TaskAgreement | None:
        """Return the result of a task that is done; None for one that is not."""
        path = self._place(name, "result.json")
        try:
            result = TaskAgreement(**json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return result if (self._output / result.prompt).is_file() else None

    def _write_table(
        self, results: Mapping[str, TaskAgreement | None], errors: Mapping[str, str]
    ) -> tuple[TaskAgreement, ...]:
        """Write what is known of the tasks up to now."""
        rows = tuple(
            result or TaskAgreement(name, error=errors[name])
            for name, result in results.items()
            if result or name in errors
        )
        values = {**self._identity, "tasks": [{**dataclasses.asdict(row), "note": row.note} for row in rows]}
        content = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
        write_atomically(self._output / "agreement.json", content.encode("utf-8"), error_type=TrainingError)
        return rows

    def _vocabulary(self) -> EmbeddedPieces | None:
        if self._settings.recycle == NO_RECYCLING:
            return None
        if self._old is None:
            self._old = self._teacher.vocabulary()
        return self._old

    def _place(self, name: str, ending: str) -> Path:
        return self._output / "work" / f"{_file_name(name)}.{ending}"


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
    return backbone if isinstance(backbone, FrozenT5) else load_t5(backbone, dtype=settings.training.precision)


def _identity(teacher: Teacher, t5: FrozenT5, settings: MigrationSettings) -> dict[str, object]:
    """Return what decides the result, but for the lines."""
    return {
        "export": own_name(str(teacher.directory.absolute().parent)),
        "version": teacher.directory.name,
        "old_backbone": f"{teacher.backbone_name} ({teacher.fingerprint})",
        "new_backbone": f"{own_name(t5.name)} ({t5.fingerprint})",
        **settings.to_json(),
    }


def _lines_digest(lines: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(lines)).encode("utf-8")).hexdigest()[:16]


def _file_name(task_id: str) -> str:
    return quote(task_id, safe=" ")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
