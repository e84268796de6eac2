"""Give the runs of a sweep with `training.precision: auto` a precision: one choice for each backbone, before the first run.

OUTPUT/precision.json   each backbone's name, as the sweep file has it -> what was chosen, and why
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from softprompt_tf.experiments.plan import Plan
from softprompt_tf.experiments.trials import Trial
from softprompt_tf.runs.precision_choice import (
    AUTO,
    CHOICE_FILE,
    Choice,
    Measured,
    choose,
    keep_choices,
    kept_choices,
)


def with_kept_precisions(plan: Plan, output: Path) -> Plan:
    """Return a plan whose runs have the precision that the sweep has chosen; where it has not chosen yet, "auto" stays.

    Raises:
      TrainingError: if what was chosen cannot be read.
    """
    return _with(plan, kept_choices(output / CHOICE_FILE)) if _undecided(plan) else plan


def with_chosen_precisions(plan: Plan, output: Path, measured: Callable[[Trial], Sequence[Measured]]) -> Plan:
    """Return a plan whose runs have the precision that the sweep has chosen, or chooses now and keeps.

    Args:
      plan: of the sweep.
      output: its directory.
      measured: measures float32 and bfloat16 on the first batches of a trial.

    Raises:
      SoftPromptError: if a trial cannot begin, or what was chosen cannot be read or written.
    """
    path = output / CHOICE_FILE
    for backbone, trial in _undecided(plan).items():
        choices = kept_choices(path)
        if backbone not in choices:
            choices[backbone] = choose(partial(measured, trial), what=f"precision of {backbone}")
            keep_choices(path, choices)
    return with_kept_precisions(plan, output)


def _undecided(plan: Plan) -> dict[str, Trial]:
    """Return the first trial of each backbone whose precision is open; one that trains a prompt, if there is any."""
    trials = [scoring.trial for scoring in plan.scorings if scoring.trial.settings.training.precision == AUTO]
    found: dict[str, Trial] = {}
    for trial in sorted(trials, key=lambda trial: trial.arm != "prompt_tuning"):
        found.setdefault(trial.settings.backbone, trial)
    return found


def _with(plan: Plan, choices: Mapping[str, Choice]) -> Plan:
    def decided(trial: Trial) -> Trial:
        settings, training = trial.settings, trial.settings.training
        choice = choices.get(settings.backbone)
        if training.precision != AUTO or choice is None:
            return trial
        training = training.model_copy(update={"precision": choice.precision})
        return replace(trial, settings=settings.model_copy(update={"training": training}))

    return replace(
        plan,
        scorings=[replace(scoring, trial=decided(scoring.trial)) for scoring in plan.scorings],
        votes=[replace(vote, trials=tuple(map(decided, vote.trials))) for vote in plan.votes],
    )
