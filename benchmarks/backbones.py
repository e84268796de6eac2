"""How well do backbones that were pretrained differently take a prompt? Prompt tuning on each, model tuning beside it.

    SOFTPROMPT_DATA=data python benchmarks/backbones.py benchmarks/backbones.yaml --output runs/backbones

The question is that of figure 3c of Lester et al. 2021 (arXiv:2104.08691). The YAML file names arms, tasks and seeds;
each combination is one run in OUTPUT/ARM/TASK/METHOD-SEED. A finished run is not repeated and one that was killed goes
on, so the same command may be given again at any time. What leaves: results.json with every run, results.md with the
means and results.png with the chart, all remade from the finished runs by `--report-only`. The chart needs matplotlib.
"""

import argparse
import gc
import json
import os
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
from backbones_report import MODEL, PROMPT, FinishedRun, write_json, write_report
from model_tuning import TuningSettings, tune_model
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from softprompt_tf.backbones import load_t5
from softprompt_tf.config import SPLITS, RunConfig, load_config
from softprompt_tf.errors import ConfigError, SoftPromptError
from softprompt_tf.evaluation.evaluation import evaluate_examples
from softprompt_tf.evaluation.scores import majority_baseline
from softprompt_tf.methods import load_prompt
from softprompt_tf.model.prompted_t5 import PromptedT5
from softprompt_tf.runs.run import train_run
from softprompt_tf.settings.yaml_tree import read_yaml
from softprompt_tf.tasks import Task, load_task

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
TITLE = "Prompt tuning of frozen backbones, mean over seeds"

_NAME = r"^[A-Za-z0-9_.-]+$"
_TUNING_PREFIX = "model_tuning."


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Arm(_Section):
    """One backbone: a short name, what the table calls it, where it lies, and how its targets are written."""

    name: str = Field(pattern=_NAME)
    backbone: str = Field(min_length=1)
    label: str = ""
    target_format: Literal["text", "sentinel"] = "text"


class Comparison(_Section):
    """A comparison's YAML file.

    Args:
      arms: the backbones.
      tasks: names of files in configs/tasks.
      seeds: of the prompts' runs.
      overrides: dotted keys of a run's config -> values, on top of configs/defaults.yaml.
      task_overrides: task -> the same for it alone, and `model_tuning.KEY` for a key of `model_tuning`.
      model_tuning: None for no model tuning.
      model_tuning_seeds: () for the same as the prompts'.
    """

    arms: tuple[Arm, ...] = Field(min_length=1)
    tasks: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(min_length=1)
    overrides: dict[str, Any] = Field(default_factory=dict)
    task_overrides: dict[str, dict[str, Any]] = Field(default_factory=dict)
    model_tuning: TuningSettings | None = None
    model_tuning_seeds: tuple[int, ...] = ()

    @property
    def arm_labels(self) -> dict[str, str]:
        """Arm name -> what the table calls it."""
        return {arm.name: arm.label or arm.name for arm in self.arms}


@dataclass(frozen=True)
class Job:
    """One run to make; `tuning` is None for prompt tuning."""

    arm: str
    config: RunConfig
    tuning: TuningSettings | None

    @property
    def directory(self) -> Path:
        return Path(self.config.output_dir)

    @property
    def method(self) -> str:
        return MODEL if self.tuning else PROMPT

    def __str__(self) -> str:
        return f"{self.arm}, {self.config.tasks[0].name}, {self.method}, seed {self.config.seed}"


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
        comparison = read_comparison(parsed.comparison, with_model_tuning=parsed.model_tuning)
        _check_known(parsed.arm or (), comparison.arm_labels)
        _check_known(parsed.task or (), comparison.tasks)
        wanted = [] if parsed.report_only else list(jobs(comparison, parsed.output))
        is_whole = run_all([job for job in wanted if _is_asked_for(job, parsed.arm, parsed.task)])
        print(write_report(parsed.output, tasks=comparison.tasks, arms=comparison.arm_labels, title=TITLE))
    except SoftPromptError as error:
        print(f"backbones: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0 if is_whole else 1


def read_comparison(path: Path, *, with_model_tuning: bool = False) -> Comparison:
    """Read a comparison's YAML file.

    Raises:
      ConfigError: if a key is unknown, missing or wrong.
    """
    try:
        comparison = Comparison.model_validate(read_yaml(path).values)
        if with_model_tuning and comparison.model_tuning is None:
            comparison = comparison.model_copy(update={"model_tuning": TuningSettings()})
        for task in comparison.tasks:
            _tuning_settings(comparison, task)  # whose mistakes are better told now than after the prompts' runs
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ConfigError(f"`{key}` in {path}: {first['msg']}. Received: {first['input']!r}.") from None
    if len(comparison.arm_labels) != len(comparison.arms):
        raise ConfigError(f"Every arm must have a name of its own. Received: {path}, where two have the same.")
    _check_known(comparison.task_overrides, comparison.tasks)
    return comparison


def jobs(comparison: Comparison, output: Path) -> Iterator[Job]:
    """Yield every run of a comparison: by task, then seed, so that the arms can soon be compared; model tuning last."""
    for task in comparison.tasks:
        for seed in comparison.seeds:
            for arm in comparison.arms:
                yield Job(arm.name, _config(comparison, arm, task, seed, output, "prompt"), None)
    if comparison.model_tuning is None:
        return
    for task in comparison.tasks:
        for seed in comparison.model_tuning_seeds or comparison.seeds:
            for arm in comparison.arms:
                config = _config(comparison, arm, task, seed, output, "model")
                yield Job(arm.name, config, _tuning_settings(comparison, task))


def run_all(wanted: Sequence[Job]) -> bool:
    """Make the runs that are not there yet, with a line for each; return whether none failed."""
    is_whole = True
    for number, job in enumerate(wanted, start=1):
        place = f"[{number}/{len(wanted)}] {job}"
        try:
            run = make_run(job)
        except SoftPromptError as error:
            is_whole = False
            print(f"{place}: FAILED: {error}", flush=True)
            continue
        if run is None:
            print(f"{place}: finished before", flush=True)
            continue
        test = "" if run.test_accuracy is None else f", test {100 * run.test_accuracy:.1f} %"
        print(
            f"{place}: {100 * run.accuracy:.1f} % at step {run.best_step}, last {100 * run.last_accuracy:.1f} %{test}, "
            f"majority {100 * run.majority:.1f} %; {run.seconds:.0f} s, {run.seconds_per_step:.3f} s a step",
            flush=True,
        )
    return is_whole


def make_run(job: Job) -> FinishedRun | None:
    """Train, or go on training; then score the test rows and write the run's result.json.

    Returns:
      The run; None if it was finished before.

    Raises:
      SoftPromptError: as the training does, or if the directory holds a run of other settings.
    """
    start = time.monotonic()
    _check_same_settings(job)
    if (job.directory / "result.json").is_file():
        return None
    _forget_last_run()
    name = job.config.tasks[0].name
    path = job.directory / "metrics.json"
    if not path.is_file():
        if job.tuning is None:
            train_run(job.config)
        else:
            tune_model(job.config, job.tuning)
    metrics = json.loads(path.read_text(encoding="utf-8"))
    task = load_task(job.config.tasks[0])
    test = metrics["test"][name] if "test" in metrics else _prompt_test_metrics(job, task)
    validation = task.examples("validation")
    run = FinishedRun(
        arm=job.arm,
        task=name,
        method=job.method,
        seed=job.config.seed,
        accuracy=metrics["validation"][name]["accuracy"],
        last_accuracy=metrics["history"][-1]["metrics"]["accuracy"],
        best_step=metrics["best_step"],
        steps=metrics["steps_done"],
        majority=majority_baseline(task, validation, validation)["accuracy"],
        num_rows=len(validation),
        test_accuracy=test.get("accuracy"),
        test_majority=_test_majority(task),
        seconds_per_step=metrics["seconds_per_step"],
        seconds=time.monotonic() - start,
    )
    write_json(job.directory / "result.json", asdict(run))
    return run


def _check_known(names: Iterable[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(f"A name must be one of {', '.join(known)}. Received: {name!r}.")


def _is_asked_for(job: Job, arms: Sequence[str] | None, tasks: Sequence[str] | None) -> bool:
    return (not arms or job.arm in arms) and (not tasks or job.config.tasks[0].name in tasks)


def _config(comparison: Comparison, arm: Arm, task: str, seed: int, output: Path, method: str) -> RunConfig:
    own, _ = _task_overrides(comparison, task)
    values: dict[str, Any] = {
        "task": str(CONFIGS / "tasks" / f"{task}.yaml"),
        "backbone": arm.backbone,
        "seed": seed,
        "output_dir": str(output / arm.name / task / f"{method}-{seed}"),
        "task.metrics": ["accuracy"],
        **comparison.overrides,
        **own,
    }
    if arm.target_format == "sentinel":
        values["task.target_format"] = arm.target_format
    return load_config(CONFIGS / "defaults.yaml", [f"{key}={json.dumps(value)}" for key, value in values.items()])


def _tuning_settings(comparison: Comparison, task: str) -> TuningSettings:
    shared = comparison.model_tuning.model_dump() if comparison.model_tuning else {}
    _, own = _task_overrides(comparison, task)
    return TuningSettings.model_validate({**shared, **own})


def _task_overrides(comparison: Comparison, task: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a task's overrides of the run's config and, without their prefix, those of the model tuning's settings."""
    values = comparison.task_overrides.get(task, {})
    tuning = {key: value for key, value in values.items() if key.startswith(_TUNING_PREFIX)}
    run = {key: value for key, value in values.items() if key not in tuning}
    return run, {key.removeprefix(_TUNING_PREFIX): value for key, value in tuning.items()}


def _check_same_settings(job: Job) -> None:
    """Note a run's settings in its directory; refuse a directory that holds a run of others.

    Where its data lie on this machine is no setting: results may be brought together from several machines.
    """
    path = job.directory / "settings.json"
    values = job.config.model_dump(mode="json", exclude={"output_dir"})
    for split in SPLITS:
        values["task"][split] = Path(values["task"][split] or "").name
    settings = {"run": values, "model_tuning": job.tuning.model_dump(mode="json") if job.tuning else None}
    is_same = path.is_file() and json.loads(path.read_text(encoding="utf-8")) == settings
    if (
        path.is_file() and not is_same and len(list(job.directory.iterdir())) > 1
    ):  # more than the settings: it was begun
        raise ConfigError(
            f"A run's directory must hold a run of the same settings. Received: {job.directory}, whose settings.json "
            "differs. Choose another --output, or remove the directory."
        )
    if not is_same:
        write_json(path, settings)


def _forget_last_run() -> None:
    """Let go of the models and graphs of the run before."""
    keras.backend.clear_session()
    gc.collect()


def _prompt_test_metrics(job: Job, task: Task) -> dict[str, float]:
    """Score a trained prompt on the test rows; nothing for a task without."""
    if task.test is None:
        return {}
    prompt = load_prompt(job.directory / "prompt.safetensors")
    model = PromptedT5(load_t5(job.config.backbone, dtype=job.config.training.precision), prompt)
    return evaluate_examples(model, task, task.examples("test")).metrics


def _test_majority(task: Task) -> float | None:
    if task.test is None:
        return None
    examples = task.examples("test")
    return majority_baseline(task, examples, examples)["accuracy"]


if __name__ == "__main__":
    sys.exit(main())
