"""The rungs of a search: all candidates train for equal seconds, the best go on; then the best one trains to the end."""

import math
from collections.abc import Sequence

from softprompt_tf.errors import SoftPromptError, TrainingError
from softprompt_tf.shown_numbers import counted
from softprompt_tf.tuning.choice import ordered
from softprompt_tf.tuning.ladder import coarse_steps, slot
from softprompt_tf.tuning.recipes import Recipe, batches_of
from softprompt_tf.tuning.record import LAST, Part, Record, Tried
from softprompt_tf.tuning.scoring import Looked
from softprompt_tf.tuning.search import WARM_UP_STEPS, Search

PILOT_STEPS = 5  # by which the speed of a group is measured


def climb(search: Search) -> Recipe:
    """Halve the candidates rung by rung, and return the one that is left; the best so far where the time is over before.

    Raises:
      TrainingError: if the training of all of them failed.
    """
    counts = search.ladder.counts
    going: Sequence[Recipe] = search.recipes[: counts[0] if counts else 1]
    for rung, count in enumerate(counts, start=1):
        batches = batches_of(going, search.trainer.together)
        slot_s = slot(search.ladder.rung_s, count, len(batches), search.speed)
        tried = search.record.tries_of(str(rung))
        missing = [together for together in batches if together[0].number not in tried]
        for together in missing:
            if search.record.best is not None and search.budget.spent_s >= search.end_s(together[0]):
                return search.recipe(search.record.tried[search.record.best].candidate)
            _try(search, rung, together, search.speed.trace_s + slot_s * len(together))
        following = counts[rung] if rung < len(counts) else 1
        going = best_of(search.record, str(rung), going, rows=search.ladder.sample)[:following]
        if missing:
            search.keep_record()
            search.on_rung()
            search.tell(_told(search, rung, going))
    return going[0]


def last_leg(search: Search, recipe: Recipe) -> None:
    """Train the best candidate while there is time, with one cosine down to 0, and score it now and then."""
    parts, record = search.ladder.scorings, search.record
    for number in range(parts):
        if record.has_done(recipe.number, number) or search.budget.spent_s >= search.end_s(recipe):
            continue
        key, begun_s = record.last_key(recipe.number, number), search.budget.spent_s

        def plan(number: int = number, begun_s: float = begun_s) -> Part:
            done = record.parts[record.last_key(recipe.number, 0)].done if number else (record.steps_of(recipe.number),)
            score_s = search.ladder.sample * search.row_s(recipe)
            seconds = (search.end_s(recipe) - begun_s) / (parts - number) - score_s
            trace_s = 0.0 if search.trainer.is_traced([recipe]) else search.speed.trace_s
            steps = max(0, math.floor((seconds - trace_s) / search.step_s(recipe)))
            progress = (number / parts, (number + 1) / parts)
            after, until_s = record.steps_of(recipe.number) - done[0], begun_s + seconds
            return Part((recipe.number,), done, after, steps, progress, WARM_UP_STEPS, begun_s, until_s)

        what = f"Last leg of {recipe.number}, part {number + 1} of {parts}"
        errors = search.train(key, what, [recipe], plan)
        if record.parts[key].steps:
            _keep(search, LAST, [recipe], errors, record.parts[key].begun_s, part=number)
            search.keep_record()
        if errors[recipe.number] is not None:
            break


def _try(search: Search, rung: int, together: Sequence[Recipe], seconds: float) -> None:
    """Train some candidates for their seconds of a rung, and score them."""
    numbers = tuple(recipe.number for recipe in together)
    key, record, done = f"{rung}/{numbers[0]}", search.record, tuple(map(search.record.steps_of, numbers))
    score_s = len(together) * search.ladder.sample * search.row_s(together[0])
    begun_s = search.budget.spent_s
    what = f"Rung {rung} of {len(search.ladder.counts)}, {_numbered(numbers)}"

    def pilot() -> Part:
        until_s = begun_s + seconds - score_s
        return Part(numbers, done, 0, PILOT_STEPS, (0.0, 0.0), WARM_UP_STEPS, begun_s, until_s)

    errors = search.train(f"{key}/pilot", what, together, pilot)
    before = record.parts[f"{key}/pilot"]
    sound = [recipe for recipe in together if errors[recipe.number] is None]

    def main() -> Part:
        left = before.until_s - search.budget.spent_s
        steps = coarse_steps(left, search.step_s(together[0]) * len(sound))
        warm_up, now_s = min(WARM_UP_STEPS, max(1, steps // 4)), search.budget.spent_s
        return Part(numbers, done, PILOT_STEPS, steps, (0.0, 1.0), warm_up, now_s, before.until_s)

    if sound:
        errors |= search.train(key, what, sound, main)
    _keep(search, str(rung), together, errors, before.begun_s)


def _keep(
    search: Search,
    rung: str,
    together: Sequence[Recipe],
    errors: dict[int, SoftPromptError | None],
    begun_s: float,
    *,
    part: int = 0,
) -> None:
    """Score candidates and add them to the record."""
    looks: dict[int, Looked | None] = {}
    for recipe in together:
        looks[recipe.number] = search.look(recipe) if errors[recipe.number] is None else None
    seconds = (search.budget.spent_s - begun_s) / len(together)
    for recipe in together:
        looked, error = looks[recipe.number], errors[recipe.number]
        tried = Tried(
            candidate=recipe.number,
            rung=rung,
            steps=search.trainer.steps_of(recipe),
            score=None if looked is None else looked.score,
            log_probability=None if looked is None else looked.log_probability,
            seconds=seconds,
            one_answer=None if looked is None else looked.one_answer,
            failure=None if error is None else str(error),
            part=part,
        )
        search.keep(tried, looked)


def best_of(record: Record, rung: str, going: Sequence[Recipe], *, rows: int) -> list[Recipe]:
    """Return the candidates whose training did not fail, the best first; of equal ones the one with the lower number.

    Args:
      record: of the search.
      rung: whose scores count.
      going: the candidates.
      rows: how many rows they were scored on.

    Raises:
      TrainingError: if all failed.
    """
    tries, recipes = record.tries_of(rung), {recipe.number: recipe for recipe in going}
    sound = [tries[number] for number in sorted(recipes) if tries[number].failure is None]
    if not sound:
        failures = {tries[recipe.number].failure for recipe in going}
        raise TrainingError(
            f"At least one candidate of a search must train. Received: {len(going)} that failed: {'; '.join(map(str, failures))}"
        )
    return [recipes[tried.candidate] for tried in ordered(sound, rows=rows)]


def _told(search: Search, rung: int, going: Sequence[Recipe]) -> str:
    tries = search.record.tries_of(str(rung))
    score = tries[going[0].number].score
    told = "no finite score" if score is None else f"{score:.4f}"
    onward = "goes on" if len(going) == 1 else "go on"
    return (
        f"Rung {rung} of {len(search.ladder.counts)} done after {search.budget.spent_s:.0f} s: "
        f"{_numbered([recipe.number for recipe in going])} {onward}; the best, {going[0]}, has {told} on "
        f"{counted(search.ladder.sample, 'dev row')}"
    )


def _numbered(numbers: Sequence[int]) -> str:
    return f"candidate{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
