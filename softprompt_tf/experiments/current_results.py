"""Which results of a directory a sweep's file still stands for: those of settings that were changed since are left out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from softprompt_tf.experiments.plan import Plan
from softprompt_tf.experiments.results import RunResult, digest

_Cell = tuple[Any, ...]


def current_results(plan: Plan, results: Sequence[RunResult]) -> list[RunResult]:
    """Return the results in the order of the sweep file; those of other files come after.

    A cell of the report is a mean over seeds. A result that belongs into a cell of the plan, but is of other settings than
    the file has now, is left out.

    Args:
      plan: what the file asks for.
      results: all of the directory.
    """
    places: dict[str, int] = {}
    wanted: dict[_Cell, set[str]] = {}
    for cell, config in _planned(plan):
        places.setdefault(digest(config), len(places))
        wanted.setdefault(cell, set()).add(_without_seeds(config))

    def is_current(result: RunResult) -> bool:
        cell = (result.backbone, result.experiment, result.arm, result.x, result.task, result.eval_task)
        return cell not in wanted or _without_seeds(result.config) in wanted[cell]

    return sorted(filter(is_current, results), key=lambda result: places.get(digest(result.config), len(places)))


def _planned(plan: Plan) -> Iterator[tuple[_Cell, dict[str, Any]]]:
    """Yield the cell of the report and the config of each result that a plan asks for."""
    for each in plan.scorings:
        name = each.trial.backbone_name
        yield (name, each.experiment, each.arm, each.x, each.task.name, each.eval_task.name), each.config
    for vote in plan.votes:
        name = vote.trials[0].backbone_name
        for arm in vote.arms:
            yield (name, vote.experiment, arm, vote.x, vote.task.name, vote.task.name), vote.config(arm)


def _without_seeds(config: Mapping[str, Any]) -> str:
    runs = config["runs"] if "runs" in config else [config.get("run", {})]
    plain = {digest({key: value for key, value in run.items() if key != "seed"}) for run in runs}
    return digest({**config, "run": None, "runs": sorted(plain)})
