"""Say in a few lines how a run ended: scores on the dev split and on test rows, the majority baseline, and what to run next."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from softprompt_tf.runs.run import RunResult
from softprompt_tf.shown_numbers import counted

_BASELINE = "  majority baseline"
_NOT_USEFUL = "The prompt is no better than one answer for all rows: train more steps, or with another learning rate."


def summary_lines(result: RunResult, *, backbone: str) -> list[str]:
    """Return the lines for a finished run.

    Args:
      result: of the run.
      backbone: what its T5 was loaded from.
    """
    lines = [] if result.training.steps_taken else ["The run was finished before: nothing was trained."]
    for task in result.prompts:
        lines += [*_task_lines(result, task), ""]
    return [*lines, f"Next: {export_command(result.prompts, result.output_dir, backbone=backbone)}"]


def export_command(prompts: Mapping[str, Path], output_dir: Path, *, backbone: str) -> str:
    """Return the command that makes one SavedModel of a run's prompts."""
    options = [f"--prompt {shlex.quote(f'{task}={path}')}" for task, path in prompts.items()]
    if Path(backbone).is_dir():  # a prompt file keeps only the directory's name
        options.append(f"--backbone {shlex.quote(backbone)}")
    return f"softprompt export {' '.join(options)} --output {shlex.quote(f'exports/{output_dir.name}')}"


def _task_lines(result: RunResult, task: str) -> list[str]:
    dev, test = result.scores[task], result.test_scores.get(task)
    rows = [(f"dev, {counted(len(dev.predictions), 'row')}", dev.metrics)]
    rows += _baseline(result, task, "validation")
    if test is not None:
        rows += [(f"test, {counted(len(test.predictions), 'row')}", test.metrics), *_baseline(result, task, "test")]
    names, width = list(dev.metrics), max(len(what) for what, _ in rows)
    step = f"; the dev rows chose step {result.training.best_step}"
    words = [] if result.words is None else [f"in words: {result.words}"]
    baseline = result.majority.get(task, {}).get("validation")
    is_useful = baseline is None or any(dev.metrics[name] > baseline[name] for name in baseline)
    return [
        f"{task}: prompt in {result.prompts[task]}{step}",
        *words,
        " " * width + "".join(f"  {name}" for name in names),
        *(
            what.ljust(width) + "".join(f"  {metrics[name]:>{max(len(name), 6)}.4f}" for name in names)
            for what, metrics in rows
        ),
        *([] if is_useful else [_NOT_USEFUL]),
    ]


def _baseline(result: RunResult, task: str, split: str) -> list[tuple[str, dict[str, float]]]:
    metrics = result.majority.get(task, {}).get(split)
    return [] if metrics is None else [(_BASELINE, metrics)]
