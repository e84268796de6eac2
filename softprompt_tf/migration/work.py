"""The work of a migration, task by task: ask, train, compare, write; what is done is not done again."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.errors import TrainingError
from softprompt_tf.export.graph.served_tasks import ServedTask
from softprompt_tf.files.atomic_file import write_atomically
from softprompt_tf.files.portable_names import file_names
from softprompt_tf.methods.recycling import Recycler
from softprompt_tf.migration.agreement import (
    TaskAgreement,
    agreement_metrics,
    mean_divergence,
    one_answer_share,
    share_of_same,
)
from softprompt_tf.migration.answers import Answers
from softprompt_tf.migration.kept_answers import asked_once
from softprompt_tf.migration.lines import SplitLines, split_lines
from softprompt_tf.migration.recycle import embedded_pieces
from softprompt_tf.migration.settings import NO_RECYCLING, MigrationSettings
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


class MigrationWork:
    """One migration: the two models, and where everything goes.

    Args:
      output: the directory.
      teacher: the old model.
      t5: the new backbone.
      backbone: what it is loaded from.
      settings: how tasks are distilled.
      identity: all that decides the result but for the lines, JSON values.
      lines: task id -> a digest of its lines.
    """

    def __init__(
        self,
        output: Path,
        teacher: Teacher,
        t5: FrozenT5,
        backbone: str,
        settings: MigrationSettings,
        identity: Mapping[str, object],
        lines: Mapping[str, str],
    ):
        self._output, self._teacher, self._t5 = output, teacher, t5
        self._backbone, self._settings, self._identity, self._lines = backbone, settings, identity, lines
        self._files = file_names(teacher.tasks)  # of all, so that one has the same name whichever are chosen

    def run(self, tasks: Mapping[str, ServedTask], lines: Mapping[str, Sequence[str]]) -> tuple[TaskAgreement, ...]:
        """Do what is not done, and return the table; a task that fails has an `error`."""
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
        return self._write_table(results, errors)

    def _distilled(self, task: ServedTask, split: SplitLines, old: tuple[Answers, Answers, Answers]) -> TaskAgreement:
        train, dev, held_out = (rendered(task, part) for part in (split.train, split.dev, split.held_out))
        start = start_of(task, self._teacher.prompt_of(task), self._recycler, self._settings)
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
            digest=digest_of([self._identity, self._lines[task.task_id]]),
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
            prompt=f"{self._files[task.task_id]}.safetensors",
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
        earlier = [self._finished(name) for name in self._teacher.tasks if name not in results]
        kept = [*(row for row in earlier if row), *rows]  # of an earlier call with other tasks, and of this one
        table = [{**dataclasses.asdict(row), "note": row.note} for row in kept]
        values = {**self._identity, "lines": dict(self._lines), "tasks": table}
        content = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
        write_atomically(self._output / "agreement.json", content.encode("utf-8"), error_type=TrainingError)
        return rows

    @cached_property
    def _recycler(self) -> Recycler | None:
        """From the old backbone to the new one, one for all tasks."""
        way = self._settings.recycle
        if way == NO_RECYCLING:
            return None
        return Recycler(self._teacher.vocabulary(), embedded_pieces(self._t5), way=way, seed=self._settings.seed)

    def _place(self, name: str, ending: str) -> Path:
        return self._output / "work" / f"{self._files[name]}.{ending}"


def digest_of(values: Any) -> str:
    """Return hexadecimal digits that differ for other JSON values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode("utf-8")).hexdigest()[:16]


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
