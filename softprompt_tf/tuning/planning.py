"""Measure the first steps, and plan a search by them; or refuse a time that is too short for anything."""

import math
from collections.abc import Sequence
from dataclasses import asdict, replace

from softprompt_tf.backbones.bundled import bundled_name
from softprompt_tf.errors import ConfigError
from softprompt_tf.shown_numbers import counted
from softprompt_tf.tasks import sample
from softprompt_tf.tuning.ladder import (
    LEAST_SAMPLE,
    LEAST_TOTAL_STEPS,
    Ladder,
    Speed,
    is_short,
    ladder_of,
    minutes_for,
    rows_to_encode,
)
from softprompt_tf.tuning.methods_tried import METHODS_TRIED
from softprompt_tf.tuning.recipes import BUNDLED_RATES, PAPER_RATES, Rates, Recipe, Source, batches_of, recipes
from softprompt_tf.tuning.record import Part
from softprompt_tf.tuning.search import WARM_UP_STEPS, Search
from softprompt_tf.tuning.trainer import BATCH_SIZE

MEASURED_STEPS = 10  # with rows of several lengths
IN_FRONT = 0  # the number of a prompt in front of the input that is only measured, where no candidate is one
_ROWS = 64  # dev rows whose scoring is measured
_LOADING_SHARE = 0.6  # of the budget; where loading has taken more, nothing is begun
FEW_STEPS = 100


def plan(search: Search, sources: list[Source]) -> None:
    """Give a search its speed, candidates, ladder and dev sample: of its record, or measured now.

    Raises:
      ConfigError: if the time is too short.
      TrainingError: if the training of the candidate that is measured fails.
    """
    record, rows = search.record, search.rows
    listed = {"rates": rates_of(search.t5.fingerprint), "num_labels": len(rows.task.label_words), "sources": sources}
    if not record.ladder:
        allowed, every = (recipes(**listed, methods=methods) for methods in (search.methods, METHODS_TRIED))  # type: ignore[arg-type]
        record.measured = asdict(_measured(search, to_measure(allowed, every)))
    listed["methods"] = search.methods
    search.speed = Speed(**record.measured)
    if not record.ladder:
        seconds = _seconds(search)
        short = is_short(seconds, search.speed)
        found = recipes(**listed, is_short=short)  # type: ignore[arg-type]
        record.ladder = {**asdict(_ladder(search, seconds, found)), "is_short": short}
    values = dict(record.ladder)
    search.recipes = recipes(**listed, is_short=values.pop("is_short"))  # type: ignore[arg-type]
    search.ladder = Ladder(**{**values, "counts": tuple(values["counts"])})
    record.candidates = [recipe.to_json() for recipe in search.recipes[: max((1, *search.ladder.counts))]]
    search.dev = sample(rows.dev, search.ladder.sample, seed=search.seed)
    search.trainer.late_rows = rows_to_encode(search.budget.total_s, search.speed, batch_size=BATCH_SIZE)
    search.keep_record()


def to_measure(allowed: Sequence[Recipe], every: Sequence[Recipe]) -> Recipe:
    """Return the candidate whose steps are measured: a prompt in front of the input, as no other has dearer steps.

    Args:
      allowed: the candidates of the search.
      every: those of a search that may try all methods.
    """
    in_front = [recipe for recipe in allowed if recipe.in_front]
    others = [recipe for recipe in allowed if not recipe.on_states]
    if in_front or others:
        return (in_front or others)[0]
    return replace(next(recipe for recipe in every if recipe.in_front), number=IN_FRONT)


def rates_of(fingerprint: str) -> Rates:
    """Return the rates that suit a T5, by its weights: those that were measured where it ships with the library, or the papers'."""
    return PAPER_RATES if bundled_name(fingerprint) is None else BUNDLED_RATES


def _seconds(search: Search) -> float:
    """Return the seconds for training and choosing; a ConfigError if they are enough for nothing."""
    budget, speed = search.budget, search.speed
    kept = search.reserve(dev_sample=LEAST_SAMPLE)
    seconds = budget.left_s - kept.seconds
    least = LEAST_TOTAL_STEPS * speed.step_s + speed.trace_s + min(LEAST_SAMPLE, len(search.rows.dev)) * speed.row_s
    if seconds < least:
        why = f"loading and measuring took {budget.spent_s:.0f} s, and the end needs {kept.seconds:.0f} s"
        raise too_short(search, why, minutes_for(speed, spent_s=budget.spent_s, reserve_s=kept.seconds))
    return seconds


def _ladder(search: Search, seconds: float, found: Sequence[Recipe]) -> Ladder:
    speed, trainer = search.speed, search.trainer
    ladder = ladder_of(
        seconds,
        speed,
        dev_rows=len(search.rows.dev),
        most=len(found),
        graphs=lambda count: len(batches_of(found[:count], trainer.together)),
    )
    steps = max(1, int(ladder.last_s / speed.step_s))
    if steps < FEW_STEPS:
        enough = math.ceil(2 * search.record.minutes * FEW_STEPS / steps) / 2
        search.tell(
            f"Only about {counted(steps, 'step')} fit into this time: the prompt will be a rough one. "
            f"Give {counted(enough, 'minute')}."
        )
    return ladder


def too_short(search: Search, why: str, minutes: float) -> ConfigError:
    """Return the error for a time in which nothing sensible can be done; the next start begins afresh."""
    search.record.path.unlink(missing_ok=True)
    return ConfigError(
        f"`minutes` must leave time to train. Received: {search.record.minutes:g}, of which {why}. Give at least {minutes:g}."
    )


def _measured(search: Search, recipe: Recipe) -> Speed:
    """Take a few steps of a candidate and score a few dev rows with it; it starts again afterwards."""
    budget, watch = search.budget, search.watch
    if budget.spent_s > _LOADING_SHARE * budget.total_s:
        raise too_short(search, f"loading took {budget.spent_s:.0f} s", _minutes_after(budget.spent_s))
    watch.stage("Measuring the speed", steps=MEASURED_STEPS, keep_every=MEASURED_STEPS + 1)
    begun_s = budget.spent_s
    part = Part((recipe.number,), (0,), 0, MEASURED_STEPS, (0.0, 0.0), WARM_UP_STEPS, begun_s, budget.total_s)
    errors = search.trainer.train(
        [recipe],
        part,
        watch=watch,
        is_late=lambda: budget.left_s <= 0,
        checkpoint_every=MEASURED_STEPS + 1,
        is_kept=False,
    )
    error = errors[recipe.number]
    if error is not None:
        raise error
    ends = watch.step_ends_s
    if len(ends) < MEASURED_STEPS or budget.left_s <= 0:
        raise too_short(
            search, f"loading and the first steps took {budget.spent_s:.0f} s", _minutes_after(budget.spent_s)
        )
    step_s = max(1e-6, (ends[-1] - ends[0]) / (len(ends) - 1))
    trace_s = max(0.0, ends[0] - begun_s - step_s)
    some = sample(search.rows.dev, _ROWS, seed=search.seed)
    model = search.scorer.model_with(search.trainer.values(recipe), recipe.method)
    search.scorer.look(model, some)  # traces the graphs
    scoring_s = budget.spent_s
    search.scorer.look(model, some)
    row_s = max(1e-9, (budget.spent_s - scoring_s) / len(some))
    search.trainer.start_again(recipe)
    return Speed(step_s, row_s, trace_s)


def _minutes_after(spent_s: float) -> float:
    return max(1.0, round(8 * spent_s / 60 + 0.5) / 2)
