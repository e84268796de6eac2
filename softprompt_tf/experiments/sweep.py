"""Make the runs of a plan, each once, and write their results into OUTPUT/results.

Killed at any moment and started again, a sweep repeats no finished run, and the run in progress goes on from its checkpoint.

OUTPUT/results/         one JSON file per result
OUTPUT/trials/          one folder per trial: its prompt, trial.json, and checkpoints while it runs
OUTPUT/backbones.json   which weights all of them are of
OUTPUT/data.json        which files' contents all of them are of
OUTPUT/precision.json   which precision was chosen for each backbone, where the file says auto
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from softprompt_tf.errors import ConfigError, SoftPromptError
from softprompt_tf.experiments.backbones import SweepBackbones
from softprompt_tf.experiments.data_files import check_data_files
from softprompt_tf.experiments.plan import Plan
from softprompt_tf.experiments.precisions import with_chosen_precisions, with_kept_precisions
from softprompt_tf.experiments.results import ResultStore, RunResult
from softprompt_tf.experiments.runner import Runner
from softprompt_tf.experiments.trials import Scoring, Trial, Vote
from softprompt_tf.files.directory_lock import locked
from softprompt_tf.progress import Progress
from softprompt_tf.shown_numbers import counted

Tell = Callable[[str], None]


@dataclass
class SweepOutcome:
    """How a sweep went.

    Args:
      made: results of this call.
      failed: what failed -> why.
      not_reached: results that the time did not suffice for.
    """

    made: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    not_reached: int = 0


def result_store(output: Path) -> ResultStore:
    """Return the results of a sweep's directory."""
    return ResultStore(output / "results")


def run_sweep(
    plan: Plan, output: Path, *, minutes: float | None = None, together: int | None = None, tell: Tell = print
) -> SweepOutcome:
    """Make the runs that have no result yet.

    Args:
      plan: what to run.
      output: the sweep's directory.
      minutes: after so many no further run is begun; one that has begun ends. None: all are made.
      together: so many prompts that differ in seed, first values or the optimizer's settings alone train at once at most; 1: one
        after the other. Default: 8 where the method starts from cached states, else 1.
      tell: is handed a line per run.

    Raises:
      ConfigError: if a backbone has other weights or a file other rows than when the sweep began, or another process is using
        the directory.
      SoftPromptError: if a result cannot be read or written, or a precision cannot be chosen; what fails in one run is told, and
        the others are made.
    """
    with locked(output, error_type=ConfigError):
        return _Sweep(plan, output, minutes, together, tell).run()


class _Sweep:
    """One call of `run_sweep`."""

    def __init__(self, plan: Plan, output: Path, minutes: float | None, together: int | None, tell: Tell):
        self._plan, self._tell, self._output, self._together = plan, tell, output, together
        self._store = result_store(output)
        self._runner = Runner(output / "trials", SweepBackbones(output / "backbones.json"))
        self._deadline = None if minutes is None else time.monotonic() + 60 * minutes
        self._outcome = SweepOutcome()
        self._progress: Progress

    def run(self) -> SweepOutcome:
        self._plan = with_kept_precisions(self._plan, self._output)
        if not self._is_late():
            settings = [scoring.trial.settings for scoring in self._plan.scorings if scoring.arm == "prompt_tuning"]
            check_data_files(self._output / "data.json", self._plan.tasks(), settings)
            self._plan = with_chosen_precisions(self._plan, self._output, self._runner.measured)
            self._runner.check_backbones([scorings[0].trial for scorings in self._plan.trials().values()])
        trials = list(self._plan.trials().values())
        finished = sum(self._is_finished(scorings) for scorings in trials)
        with Progress(len(trials), unit="run", first=finished) as self._progress:
            for number, scorings in enumerate(trials, start=1):
                self._run_trial(f"[{number}/{len(trials)}]", scorings, trials[number:])
            for vote in self._plan.votes:
                self._run_vote(vote)
        return self._outcome

    def _is_finished(self, scorings: Sequence[Scoring]) -> bool:
        return all(self._store.is_finished(scoring.config) for scoring in scorings)

    def _run_trial(self, place: str, scorings: Sequence[Scoring], later: Sequence[Sequence[Scoring]]) -> None:
        trial = scorings[0].trial
        wanted = [scoring for scoring in scorings if not self._store.is_finished(scoring.config)]
        if not wanted:
            self._runner.clean(trial)
            self._tell(f"{place} {scorings[0]}: finished before")
            return
        if self._is_late():
            self._outcome.not_reached += len(wanted)
            return
        self._tell(f"{place} {scorings[0]}")
        self._train_ahead(trial, later)
        try:
            results = self._runner.run(trial, wanted)
        except SoftPromptError as error:
            self._fail(str(scorings[0]), error)
            self._progress.advance()
            return
        for scoring, result in zip(wanted, results, strict=True):
            self._keep(str(scoring), result)
        self._runner.clean(trial)
        self._progress.advance(score=results[-1].score)

    def _train_ahead(self, trial: Trial, later: Sequence[Sequence[Scoring]]) -> None:
        """Train a trial's prompt at once with those of later trials, where there are such."""
        is_open = [each for each in later if not self._is_finished(each)]
        trained = self._runner.train_ahead(trial, [each[0].trial for each in is_open], most=self._together)
        if trained:
            self._tell(f"    trained at once with {trained - 1} that differ in seed or rate")

    def _run_vote(self, vote: Vote) -> None:
        if all(self._store.is_finished(vote.config(arm)) for arm in vote.arms):
            return
        if self._is_late() or not all(self._has_prompt(trial) for trial in vote.trials):
            self._outcome.not_reached += len(vote.arms)
            return
        try:
            results = self._runner.run_vote(vote)
        except SoftPromptError as error:
            self._fail(str(vote), error)
            return
        for result in results:
            self._keep(f"{vote.experiment}, {result.arm}, {vote.task.name}", result)

    def _has_prompt(self, trial: Trial) -> bool:
        return (self._runner.directory / trial.name / "trial.json").is_file()

    def _keep(self, what: str, result: RunResult) -> None:
        self._store.write(result)
        self._outcome.made += 1
        metrics = ", ".join(f"{name} {value:.4f}" for name, value in result.metrics.items())
        step = "" if result.step is None else f" at step {result.step}"
        self._tell(f"    {what}: {result.score:.2f}{step} ({metrics}); {result.seconds:.1f} s")

    def _fail(self, what: str, error: SoftPromptError) -> None:
        self._outcome.failed[what] = str(error)
        self._tell(f"    {what}: FAILED: {error}")

    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline


def plan_lines(plan: Plan, output: Path) -> list[str]:
    """Return what a sweep would do: a line per trial, with what is finished, and what is left out and why."""
    plan = with_kept_precisions(plan, output)
    store, lines, open_results = result_store(output), [], 0
    trials = list(plan.trials().values())
    for number, scorings in enumerate(trials, start=1):
        open_ones = sum(not store.is_finished(scoring.config) for scoring in scorings)
        more = f" and {counted(len(scorings) - 1, 'more result')}" if len(scorings) > 1 else ""
        state = "finished" if not open_ones else f"to do: {open_ones} of {len(scorings)}"
        lines.append(f"[{number}/{len(trials)}] {scorings[0]}{more}: {state}")
        open_results += open_ones
    for vote in plan.votes:
        is_done = all(store.is_finished(vote.config(arm)) for arm in vote.arms)
        lines.append(f"{vote}: {'finished' if is_done else 'to do'}")
        open_results += 0 if is_done else len(vote.arms)
    lines += [f"left out: {what}: {why}" for what, why in plan.left_out.items()]
    total = len(plan.scorings) + sum(len(vote.arms) for vote in plan.votes)
    lines.append(f"{counted(len(trials), 'run')}, {counted(total, 'result')}, {total - open_results} of them finished.")
    return lines
