"""A search in progress: its candidates, what trains and scores them, its clock, and its record on the disk."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.errors import SoftPromptError
from softprompt_tf.progress import say
from softprompt_tf.tasks import Example
from softprompt_tf.tuning.budget import Budget
from softprompt_tf.tuning.choice import is_better
from softprompt_tf.tuning.ladder import Ladder, Reserve, Speed, reserve_of
from softprompt_tf.tuning.recipes import LENGTH, Group, Recipe
from softprompt_tf.tuning.record import Part, Record, Tried
from softprompt_tf.tuning.rows import TuneRows
from softprompt_tf.tuning.scoring import Looked, Scorer
from softprompt_tf.tuning.trainer import Trainer
from softprompt_tf.tuning.watch import KEEP_EVERY_S, Watch

WARM_UP_STEPS = 20
_STATES_STEP = 0.4  # a step on cached states takes so much of one in front of the input; until it is measured


@dataclass
class Search:
    """What the stages of a search share.

    Args:
      t5: the frozen T5.
      backbone: what it was loaded from.
      rows: of the task.
      record: on the disk.
      budget: the clock.
      output: the directory.
      seed: of the search.
      methods: that may be tried.
      trainer, scorer, watch: at work.
      on_rung: is called when a rung is done.

    Attributes:
      speed, recipes, ladder, dev: are set when the search is planned; dev has the rows that candidates are scored on.
      best_look: the scores of the best candidate, if this process has made them.
    """

    t5: FrozenT5
    backbone: str
    rows: TuneRows
    record: Record
    budget: Budget
    output: Path
    seed: int
    methods: tuple[str, ...]
    trainer: Trainer
    scorer: Scorer
    watch: Watch
    on_rung: Callable[[], None] = lambda: None
    speed: Speed = field(init=False)
    recipes: tuple[Recipe, ...] = field(init=False)
    ladder: Ladder = field(init=False)
    dev: list[Example] = field(init=False)
    best_look: Looked | None = None
    _step_s: dict[Group, float] = field(default_factory=dict)
    _row_s: dict[Group, float] = field(default_factory=dict)
    _looked: set[Group] = field(default_factory=set)

    @property
    def prompt_path(self) -> Path:
        """Where the best prompt is."""
        return self.output / f"{self.rows.task.name}.safetensors"

    def recipe(self, number: int) -> Recipe:
        """Return a candidate by its number."""
        return self.recipes[number - 1]

    def keep_record(self) -> None:
        """Write the record, with the seconds that are spent by now."""
        self.record.spent_s = self.budget.spent_s
        self.record.write()

    def tell(self, line: str) -> None:
        """Say a line, above the progress."""
        say(line)

    # === Training ===

    def step_s(self, recipe: Recipe) -> float:
        """Return the seconds of one step of a candidate: measured, or where its group has not trained yet, estimated."""
        tokens, share = self.trainer.mean_tokens, _STATES_STEP if recipe.on_states else 1.0
        estimate = self.speed.step_s * (tokens + recipe.length) / (tokens + LENGTH) * share
        return self._step_s.get(recipe.group, estimate)

    def train(
        self, key: str, what: str, candidates: Sequence[Recipe], plan: Callable[[], Part]
    ) -> dict[int, SoftPromptError | None]:
        """Train some candidates for a part of a leg, as it was planned before, or as it is planned now.

        Args:
          key: of the part in the record.
          what: it is, for people.
          candidates: of one group.
          plan: makes the part.

        Returns:
          Number -> why a candidate cannot go on, or None.
        """
        if key not in self.record.parts:
            self.record.parts[key] = plan()
            self.keep_record()
        part = self.record.parts[key]
        if not part.steps:
            return {recipe.number: None for recipe in candidates}
        step_s = self.step_s(candidates[0]) * len(candidates)
        keep_every = max(1, math.ceil(KEEP_EVERY_S / step_s))
        steps = part.after + part.steps if part.progress[1] else None
        self.watch.stage(what, steps=steps, before=part.after, keep_every=keep_every)
        errors = self.trainer.train(
            candidates,
            part,
            watch=self.watch,
            is_late=lambda: self.budget.spent_s + step_s / 2 >= part.until_s,
            checkpoint_every=keep_every,
        )
        ends = self.watch.step_ends_s
        if len(ends) > 2:
            # The mean, and not the median: batches of long rows belong to it.
            self._step_s[candidates[0].group] = (ends[-1] - ends[0]) / (len(ends) - 1) / len(candidates)
        return errors

    # === Scoring ===

    def row_s(self, recipe: Recipe) -> float:
        """Return the seconds of scoring a row with a candidate, as last measured."""
        return self._row_s.get(recipe.group, self.speed.row_s)

    def reserve(self, *, dev_sample: int, row_s: float | None = None) -> Reserve:
        """Return what the end of the search needs."""
        return reserve_of(
            self.budget.total_s,
            self.speed if row_s is None else replace(self.speed, row_s=row_s),
            dev_rows=len(self.rows.dev),
            test_rows=len(self.rows.test),
            sample=dev_sample,
        )

    def end_s(self, recipe: Recipe) -> float:
        """Return the spent seconds at which the last word begins, if it is about a candidate."""
        return self.budget.total_s - self.reserve(dev_sample=len(self.dev), row_s=self.row_s(recipe)).seconds

    def look(self, recipe: Recipe) -> Looked:
        """Score a candidate as it is now on the dev rows of the search."""
        begun_s, model = self.budget.spent_s, self.scorer.model_with(self.trainer.values(recipe), recipe.method)
        looked = self.scorer.look(self.trainer.answers(model, recipe, self.dev), self.dev)
        if recipe.group in self._looked:  # the first time also traces
            self._row_s[recipe.group] = max(1e-9, (self.budget.spent_s - begun_s) / len(self.dev))
        self._looked.add(recipe.group)
        return looked

    def keep(self, tried: Tried, looked: Looked | None) -> None:
        """Add a look to the record; the prompt of the best one is written."""
        record, before = self.record, self.record.tried[:]
        record.tried.append(tried)
        if looked is None:
            return
        if record.best is None or is_better(tried, before[record.best], before, rows=len(self.dev)):
            recipe = self.recipe(tried.candidate)
            self.write_prompt(recipe, looked.scores.metrics)
            record.best, self.best_look = len(record.tried) - 1, looked

    def write_prompt(self, recipe: Recipe, metrics: dict[str, float]) -> None:
        """Write the task file of a candidate as it is now."""
        task = self.rows.task
        self.scorer.model_with(self.trainer.values(recipe), recipe.method).save_prompt(
            self.prompt_path,
            task_id=task.name,
            method=recipe.method,
            template=task.inputs,
            labels=task.label_words,
            max_input_tokens=task.max_input_tokens,
            max_target_tokens=task.target_token_limit(self.t5.tokenize),
            metrics=metrics,
            training_config={
                "backbone": self.backbone,
                "precision": self.t5.compute_dtype,
                "seed": self.seed,
                "tune": recipe.to_json(),
            },
        )
