"""How well do backbones that were pretrained differently take a prompt? Prompt tuning on each, model tuning beside it.

    SOFTPROMPT_DATA=data python benchmarks/backbones.py benchmarks/backbones.yaml --output runs/backbones

The question is that of figure 3c of Lester et al. 2021 (arXiv:2104.08691). The YAML file names arms, tasks and seeds; each
combination is one run of a sweep, whose results are in OUTPUT/results and whose prompts are in OUTPUT/trials. A finished
run is not repeated and one that was killed goes on, so the same command may be given again at any time. The report is
results.json with every run, results.md with the means and results.png with the chart; `--report-only` makes it again
from the finished runs. The chart needs matplotlib.
"""

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from backbones_comparison import check_known, plan_of, read_comparison
from backbones_report import FinishedRun, write_report

from softprompt_tf.backbones.backbone_option import check_backbone_path
from softprompt_tf.config import TaskConfig
from softprompt_tf.errors import ConfigError, SoftPromptError
from softprompt_tf.evaluation.scores import majority_baseline
from softprompt_tf.experiments.plan import Plan
from softprompt_tf.experiments.rows import check_rows, scored_examples
from softprompt_tf.experiments.settings import Rows
from softprompt_tf.experiments.sweep import result_store, run_sweep
from softprompt_tf.experiments.trials import Scoring
from softprompt_tf.tasks import load_task

TITLE = "Prompt tuning of frozen backbones, mean over seeds"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the runs that are not there yet and the report; return the exit status, 1 if a run failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("comparison", type=Path, help="a YAML file, such as benchmarks/backbones.yaml")
    parser.add_argument("--output", type=Path, default=Path("runs/backbones"))
    parser.add_argument(
        "--model-tuning", action="store_true", help="train whole models even if the file does not say so"
    )
    parser.add_argument("--arm", action="append", help="make the runs of this arm only; may be repeated")
    parser.add_argument("--task", action="append", help="make the runs of this task only; may be repeated")
    parser.add_argument("--report-only", action="store_true", help="remake table and chart, train nothing")
    parsed = parser.parse_args(arguments)
    try:
        return _run(parsed)
    except SoftPromptError as error:
        print(f"backbones: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def make_runs(plan: Plan, output: Path) -> bool:
    """Make the runs that are not there yet, with a line for each; return whether none failed.

    Raises:
      ConfigError, DataError: if a backbone or rows are missing, or the directory has a report of runs that are elsewhere,
        before anything is trained; and as `run_sweep`.
    """
    if (output / "results.json").is_file() and not result_store(output).directory.is_dir():
        raise ConfigError(
            "`--output` must be a new directory, or the one of these runs. "
            f"Received: {output}, whose results.json is of runs that are elsewhere. Choose another, or give --report-only."
        )
    for scoring in plan.scorings:
        check_backbone_path(scoring.trial.settings.backbone)
        check_rows(scoring.eval_task, ("test",) if _is_test(scoring) else ("train", "validation"))
    return not run_sweep(plan, output, tell=lambda line: print(line, flush=True)).failed


def finished_runs(plan: Plan, output: Path) -> list[FinishedRun]:
    """Return the plan's runs that have results, in its order; results of other settings are left out."""
    store = result_store(output)
    found = [(scoring, store.read(scoring.config)) for scoring in plan.scorings]
    tests = {_run_of(scoring): (scoring, result) for scoring, result in found if _is_test(scoring) and result}
    runs = []
    for scoring, result in found:
        if result is None or _is_test(scoring):
            continue
        test = tests.get(_run_of(scoring))
        runs.append(
            FinishedRun(
                arm=str(result.x),
                task=result.task,
                method=result.arm.replace("_", " "),
                seed=result.seed,
                accuracy=result.metrics["accuracy"],
                best_step=result.step,
                majority=_majority(scoring.eval_task),
                num_rows=len(scored_examples(scoring.eval_task, Rows())),
                test_accuracy=test[1].metrics["accuracy"] if test else None,
                test_majority=_majority(test[0].eval_task) if test else None,
                seconds=result.seconds,
            )
        )
    return runs


def _run(parsed: argparse.Namespace) -> int:
    comparison = read_comparison(parsed.comparison, with_model_tuning=parsed.model_tuning)
    check_known(parsed.arm or (), comparison.arm_labels)
    check_known(parsed.task or (), comparison.tasks)
    is_whole, runs = True, []
    if not parsed.report_only:
        is_whole = make_runs(_asked_for(plan_of(comparison), parsed.arm, parsed.task), parsed.output)
    if result_store(parsed.output).directory.is_dir():  # else there may be the results.json of an earlier report
        runs = finished_runs(plan_of(comparison), parsed.output)
    print(write_report(parsed.output, runs, tasks=comparison.tasks, arms=comparison.arm_labels, title=TITLE))
    return 0 if is_whole else 1


def _asked_for(plan: Plan, arms: Sequence[str] | None, tasks: Sequence[str] | None) -> Plan:
    chosen = [s for s in plan.scorings if (not arms or s.x in arms) and (not tasks or s.task.name in tasks)]
    return dataclasses.replace(plan, scorings=chosen)


def _is_test(scoring: Scoring) -> bool:
    return scoring.eval_task != scoring.task


def _run_of(scoring: Scoring) -> tuple[object, str]:
    return scoring.x, scoring.trial.name


def _majority(task: TaskConfig) -> float:
    """Return the accuracy on a task's rows of their own commonest answer."""
    rows = scored_examples(task, Rows())
    return majority_baseline(load_task(task), rows, rows)["accuracy"]


if __name__ == "__main__":
    sys.exit(main())
