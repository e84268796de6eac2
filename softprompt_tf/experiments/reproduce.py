"""Run all experiments that this machine has data for, and write a report.

OUTPUT/report.html       tables and plots of all results so far, what the prompts say, and what was left out
OUTPUT/report.md         the same tables, for a README or a card
OUTPUT/plots/NAME.svg    each experiment's plot
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softprompt_tf.errors import SoftPromptError, TrainingError
from softprompt_tf.experiments.current_results import current_results
from softprompt_tf.experiments.plan import Plan, make_plan
from softprompt_tf.experiments.precisions import with_kept_precisions
from softprompt_tf.experiments.settings import read_sweep
from softprompt_tf.experiments.sweep import SweepOutcome, Tell, plan_lines, result_store, run_sweep
from softprompt_tf.report import check_plots_can_be_drawn, write_markdown_report, write_report
from softprompt_tf.shown_numbers import counted

if TYPE_CHECKING:
    from softprompt_tf.methods import TaskPrompt


def run_experiments(
    sweep: Path,
    output: Path,
    *,
    backbone: str | None = None,
    data: Path | None = None,
    minutes: float | None = None,
    leave_out: bool = False,
    only_plan: bool = False,
    together: int | None = None,
    tell: Tell = print,
) -> SweepOutcome:
    """Make the runs of a sweep file and the report; started again, go on.

    Args:
      sweep: the YAML file.
      output: the sweep's directory.
      backbone: in the place of the file's.
      data: what `${SOFTPROMPT_DATA}` of the task files stands for.
      minutes: after so many no further run is begun; 0 makes the report of what is there.
      leave_out: whether to leave out, and say so, what has no data or no backbone here.
      only_plan: whether to tell the runs and what is finished, and do nothing.
      together: as in `run_sweep`.
      tell: is handed each line.

    Raises:
      ConfigError, DataError: for a mistake in the file, or in what it names; if matplotlib is not installed.
      TrainingError: if a run failed; the others are made and reported.
    """
    if data is not None:
        os.environ["SOFTPROMPT_DATA"] = str(data.absolute())
    experiments = read_sweep(sweep, backbone=backbone)
    plan = make_plan(experiments, leave_out=leave_out)
    if only_plan:
        for line in plan_lines(plan, output):
            tell(line)
        return SweepOutcome()
    check_plots_can_be_drawn()
    for what, why in plan.left_out.items():
        tell(f"left out: {what}: {why}")
    outcome = run_sweep(plan, output, minutes=minutes, together=together, tell=tell)
    plan = with_kept_precisions(plan, output)
    if outcome.not_reached:
        what = "1 result was" if outcome.not_reached == 1 else f"{outcome.not_reached} results were"
        tell(f"{what} not reached in {counted(minutes or 0, 'minute')}. The same command goes on.")
    _report(plan, output, outcome, tell)
    if outcome.failed:
        first = "; ".join(f"{what}: {why}" for what, why in list(outcome.failed.items())[:3])
        raise TrainingError(f"All runs must end. Received: {len(outcome.failed)} that failed, such as {first}")
    return outcome


def _report(plan: Plan, output: Path, outcome: SweepOutcome, tell: Tell) -> None:
    found = result_store(output).results()
    results = current_results(plan, found)
    if not results:
        tell("There is no result yet, so there is no report.")
        return
    if len(results) < len(found):
        tell(f"Left out of the report: {counted(len(found) - len(results), 'earlier result')} of other settings.")
    missing = dict(plan.missing)
    reported = {result.experiment for result in results}
    for scoring in plan.scorings:
        if scoring.experiment not in reported:
            is_late = outcome.not_reached and str(scoring) not in outcome.failed
            why = "its runs were not reached in the time given." if is_late else "its runs failed."
            missing.setdefault(scoring.experiment, why)
    write_markdown_report(results, output / "report.md", missing=missing)
    path = write_report(
        results, output / "report.html", interpretability=_inspected(plan, output, tell), missing=missing
    )
    tell(f"{counted(len(results), 'result')} in {path}")


def _inspected(plan: Plan, output: Path, tell: Tell) -> dict[str, Any] | None:
    """Return what the first finished prompt of each task says, of the first backbone; None where there is none.

    Methods that have no prompt's rows say nothing.
    """
    from softprompt_tf.backbones import load_t5
    from softprompt_tf.interpretability import inspect_prompts
    from softprompt_tf.methods import load_prompt
    from softprompt_tf.methods.task_tensors import prompt_name

    found: dict[str, tuple[TaskPrompt, str]] = {}
    for scoring in plan.scorings:
        trial, name = scoring.trial, scoring.task.name
        path = output / "trials" / trial.name / "prompt.safetensors"
        if trial.arm == "prompt_tuning" and scoring.x is None and name not in found and path.is_file():
            prompt = load_prompt(path)
            if prompt_name(prompt.tensors) is not None:
                found[name] = prompt, trial.settings.backbone
    if not found:
        return None
    _, first = next(iter(found.values()))
    named = [(name, prompt) for name, (prompt, backbone) in found.items() if backbone == first]
    try:
        return inspect_prompts(named, t5=load_t5(first)).to_json()
    except SoftPromptError as error:
        tell(f"What the prompts say is not in the report: {error}")
        return None
