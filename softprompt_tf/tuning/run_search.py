"""Run a search in a directory: begin it, or go on with it, and leave its prompt, its record, its picture and its page.

OUTPUT/TASK.safetensors     the best prompt so far; at the end, the result
OUTPUT/tune.json            what was measured, planned and tried, and the figures
OUTPUT/test_predictions.jsonl  the best prompt's answers to the test rows
OUTPUT/index.html           all of it as a page
OUTPUT/learning_curve.svg   the dev scores by seconds
OUTPUT/precision.json       the precision that was chosen, where "auto" was asked for
OUTPUT/work/                checkpoints, until the search is finished
"""

import dataclasses
import shutil
import time
from collections.abc import Mapping
from typing import Any

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.errors import BackboneError, ConfigError, TrainingError
from softprompt_tf.files.directory_lock import locked
from softprompt_tf.files.new_files import check_no_others
from softprompt_tf.keras_backend import require_tensorflow
from softprompt_tf.progress import say
from softprompt_tf.runs.configured import check_task_labels
from softprompt_tf.shown_numbers import counted
from softprompt_tf.tasks import Example, Task, tell_cut_examples
from softprompt_tf.tasks.data_digest import examples_digest, file_digest
from softprompt_tf.tuning.budget import Budget, Clock
from softprompt_tf.tuning.last_word import score_best
from softprompt_tf.tuning.page import PAGE, PICTURE, check_picture, write_page
from softprompt_tf.tuning.planning import plan
from softprompt_tf.tuning.precision import KEY, Load, measured_search, precision_of
from softprompt_tf.tuning.recipes import Source
from softprompt_tf.tuning.record import FILE, PREDICTIONS, Record, check_identity, read_record
from softprompt_tf.tuning.rows import TuneRows, divided, read_rows_of
from softprompt_tf.tuning.rungs import climb, last_leg
from softprompt_tf.tuning.scoring import Scorer
from softprompt_tf.tuning.search import Search
from softprompt_tf.tuning.settings import SearchSettings as SearchSettings
from softprompt_tf.tuning.sources import sources_of
from softprompt_tf.tuning.summary import next_command
from softprompt_tf.tuning.trainer import Trainer
from softprompt_tf.tuning.watch import Watch

_WORK = "work"
_FILES_OF_A_TASK = ("train", "validation", "test")


def run_search(
    task: Task,
    load: Load,
    settings: SearchSettings,
    *,
    started: float | None = None,
    clock: Clock = time.monotonic,
) -> Record:
    """Search for a prompt, or go on searching with the time that is left.

    Args:
      task: with its sources.
      load: returns the T5 in a precision, "float32" or "bfloat16".
      settings: of the search.
      started: the clock's reading from which the time counts. Default now.
      clock: of seconds.

    Returns:
      The record of the finished search.

    Raises:
      ConfigError: if the time is too short for anything.
      ConfigError, DataError, BackboneError: for a mistake in the task, its data or its backbone.
      TrainingError: if the directory holds another search, or files where this one would write, or another process is using it.
    """
    require_tensorflow("A search")
    budget = Budget(60 * settings.minutes, started=started, clock=clock)
    splits = read_rows_of(task)
    rows = divided(task, splits, seed=settings.seed)
    with locked(settings.output, error_type=TrainingError):
        if not (settings.output / FILE).exists():
            names = (f"{task.name}.safetensors", PREDICTIONS, PAGE, PICTURE, _WORK)
            check_no_others(settings.output, names, error_type=TrainingError)
        return _Run(rows, splits, load, settings, budget).run()


class _Run:
    """One call of `run_search`."""

    def __init__(
        self,
        rows: TuneRows,
        splits: Mapping[str, list[Example]],
        load: Load,
        settings: SearchSettings,
        budget: Budget,
    ):
        self._rows, self._splits, self._load, self._settings, self._budget = rows, splits, load, settings, budget
        self._output = settings.output

    def run(self) -> Record:
        settings = self._settings
        task = _settings_of(self._rows.task)
        t5 = self._load(precision_of(settings, lambda: measured_search(self._rows, self._load, settings), task=task))
        if t5.dropout:
            raise BackboneError(
                f"A search needs a T5 without dropout. Received: a backbone with dropout={t5.dropout:g}. Load it without: "
                "`load_t5(..., dropout=0.0)`."
            )
        check_task_labels(self._rows.task, t5)
        sources = sources_of(t5, self._settings.sources)
        record = self._record(t5, sources)
        if record.finished:
            say(
                f"The search in {self._output} was finished before: nothing was done. "
                "Another search needs another output directory."
            )
            shutil.rmtree(self._output / _WORK, ignore_errors=True)
            return record
        self._tell(t5)
        with Watch(self._budget, lambda: search.keep_record()) as watch:
            search = self._search(t5, record, watch)
            try:
                self._do(search, sources)
            except KeyboardInterrupt:
                if record.ladder:
                    search.keep_record()
                    search.tell(
                        f"The search goes on with the {max(0, self._budget.left_s):.0f} s that are left: start it again."
                    )
                raise
        shutil.rmtree(self._output / _WORK, ignore_errors=True)
        return record

    def _do(self, search: Search, sources: list[Source]) -> None:
        record, budget = search.record, search.budget
        plan(search, sources)
        search.tell(_planned(search))
        self._write(search)
        if budget.spent_s >= search.end_s(search.recipes[0]) and record.best is None:
            raise ConfigError(
                f"`minutes` must be more than what is spent before. Received: {record.minutes:g}, of which "
                f"{budget.spent_s / 60:.1f} are spent, and nothing is scored yet. Raise it to go on."
            )
        last_leg(search, climb(search))
        score_best(search)
        record.finished = True
        self._write(search)
        search.keep_record()

    def _search(self, t5: FrozenT5, record: Record, watch: Watch) -> Search:
        seed = self._settings.seed
        search = Search(
            t5=t5,
            backbone=self._settings.backbone,
            rows=self._rows,
            record=record,
            budget=self._budget,
            output=self._output,
            seed=seed,
            methods=self._settings.methods,
            trainer=Trainer(t5, self._rows, seed=seed, directory=self._output / _WORK),
            scorer=Scorer(t5, self._rows.task),
            watch=watch,
        )
        search.on_rung = lambda: self._write(search)
        return search

    def _write(self, search: Search) -> None:
        record, task, backbone = search.record, self._rows.task.name, self._settings.backbone
        record.spent_s = self._budget.spent_s
        command = ""
        if record.finished:
            command = next_command(search.prompt_path, self._output, task=task, backbone=backbone)
        write_page(record, self._output, task=task, backbone=search.t5.name, next_command=command)

    def _record(self, t5: FrozenT5, sources: list[Source]) -> Record:
        """Return the record of the directory, checked, or a new one."""
        settings, rows = self._settings, self._rows
        identity = {
            "task": _settings_of(rows.task),
            "rows": {split: examples_digest(examples) for split, examples in self._splits.items()},
            "backbone": {"name": settings.backbone, "weights": t5.fingerprint},
            KEY: t5.compute_dtype,
            "seed": settings.seed,
            "methods": sorted(settings.methods),
            "sources": {source.path.name: file_digest(source.path)[:16] for source in sources},
        }
        record = read_record(settings.output)
        if record is None:
            record = Record(settings.output / FILE, identity, settings.minutes)
        record.identity.setdefault(KEY, "float32")  # records of earlier versions name none
        check_identity(record, identity)
        if not record.finished:
            record.minutes = settings.minutes
            self._budget.add(record.spent_s)
        counts = {"train rows": len(rows.train), "dev rows": len(rows.dev), "test rows": len(rows.test)}
        record.rows = {"counts": counts, "notes": list(rows.notes)}
        if record.ladder and not record.finished:
            say(f"The search goes on: {self._budget.spent_s:.0f} of {self._budget.total_s:.0f} s are spent.")
        return record

    def _tell(self, t5: FrozenT5) -> None:
        """Say what was decided about the rows, and which of them are cut."""
        task = self._rows.task
        check_picture()
        for note in self._rows.notes:
            say(f"{task.name}: {note}")
        for split, examples in (("train", self._rows.train), ("dev", self._rows.dev), ("test", self._rows.test)):
            tell_cut_examples(
                examples,
                t5.tokenize,
                max_input_tokens=task.max_input_tokens,
                max_target_tokens=task.target_token_limit(t5.tokenize),
                name=f"{task.name}, {split}",
            )


def _settings_of(task: Task) -> dict[str, Any]:
    """Return what tells a task from others, JSON values, without its sources, whose rows have digests."""
    fields = {field.name: getattr(task, field.name) for field in dataclasses.fields(task)}
    return {
        name: dict(value) if isinstance(value, Mapping) else list(value) if isinstance(value, tuple) else value
        for name, value in fields.items()
        if name not in _FILES_OF_A_TASK
    }


def _planned(search: Search) -> str:
    ladder, speed = search.ladder, search.speed
    counts = ", then ".join(map(str, ladder.counts))
    rungs = f"{counts} candidates, {ladder.rung_s:.0f} s for each rung; " if counts else "one candidate; "
    return (
        f"Measured: {speed.step_s:.3f} s for a step, {1000 * speed.row_s:.0f} ms for a row that is scored. Plan: {rungs}"
        f"{ladder.last_s:.0f} s for the last leg; {counted(ladder.sample, 'dev row')} choose"
    )
