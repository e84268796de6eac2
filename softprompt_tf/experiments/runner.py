"""Run a trial and score it, in one process and with each T5 loaded once."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from softprompt_tf.baselines import ModelTuner
from softprompt_tf.config import RunConfig, TaskConfig
from softprompt_tf.errors import SoftPromptError
from softprompt_tf.evaluation.asking import AnswersTexts
from softprompt_tf.evaluation.evaluation import evaluate_examples
from softprompt_tf.experiments.backbones import SweepBackbones
from softprompt_tf.experiments.prompt_tuner import PromptTuner, TrialRecord, read_record, write_record
from softprompt_tf.experiments.prompts_together import partners, tune_together
from softprompt_tf.experiments.results import RunResult, digest
from softprompt_tf.experiments.rows import scored_examples, training_data
from softprompt_tf.experiments.trials import WEIGHTS, Scoring, Trial, Vote
from softprompt_tf.experiments.untrained import untrained_result
from softprompt_tf.experiments.votes import vote_results
from softprompt_tf.model.prompted_t5 import PromptedT5
from softprompt_tf.runs.precision_choice import Measured
from softprompt_tf.runs.precision_measurement import measured_run
from softprompt_tf.tasks import Task, load_task
from softprompt_tf.training import make_strategy
from softprompt_tf.training.distribution import check_is_one_process


class Runner:
    """Runs trials and scores them.

    Args:
      directory: a folder per trial is made in it: a prompt, a record, and checkpoints while it runs.
      backbones: loads them.
    """

    def __init__(self, directory: Path, backbones: SweepBackbones):
        self.directory = directory
        self._backbones = backbones
        self._failed: dict[str, SoftPromptError] = {}
        self._prompt_tuners: dict[tuple[object, ...], PromptTuner] = {}
        self._model_tuners: dict[tuple[str, ...], ModelTuner] = {}

    def check_backbones(self, trials: Sequence[Trial]) -> None:
        """Load each backbone of the trials that an earlier call has loaded; the first trial's last, so that it is at hand.

        Raises:
          ConfigError: if one has other weights now.
        """
        known = self._backbones.names()
        firsts: dict[str, Trial] = {}
        for trial in trials:
            firsts.setdefault(trial.settings.backbone, trial)
        for name, trial in reversed(firsts.items()):
            if name in known:
                self._prompt_tuner(trial)

    def measured(self, trial: Trial) -> list[Measured]:
        """Return what float32 and bfloat16 do on the first batches of a trial's task, with a prompt of its settings.

        Raises:
          SoftPromptError: for a mistake in settings, data or backbone.
        """
        check_is_one_process(trial.settings.training.strategy, "A sweep")
        return measured_run(self._config(trial), [training_data(trial.tasks[0], trial.settings.rows)])

    def train_ahead(self, trial: Trial, others: Sequence[Trial], *, most: int | None) -> int:
        """Train a trial's prompt at once with those of others, where that suits them; `run` then has only to score each.

        What goes wrong for one of them is told by its `run`, and what goes wrong for all by each of theirs, alone.

        Args:
          trial: the next one.
          others: later ones without results.
          most: as in `tune_together`.

        Returns:
          How many were trained: 0, or this one and the first of its partners.
        """
        trials = [trial, *partners(trial, others, self._config)]
        if len(trials) == 1 or most == 1:
            return 0
        try:
            errors = tune_together(
                self._prompt_tuner(trial),
                [self._config(each) for each in trials],
                training_data(trial.tasks[0], trial.settings.rows),
                run_digests=[digest(each.config) for each in trials],
                most=most,
            )
        except (SoftPromptError, tf.errors.ResourceExhaustedError):
            return 0
        self._failed |= {each.name: error for each, error in zip(trials, errors, strict=False) if error is not None}
        return len(errors)

    def run(self, trial: Trial, scorings: Sequence[Scoring]) -> list[RunResult]:
        """Train or set up a trial, or go on with it, and score it.

        Returns:
          A result for each scoring, in their order.

        Raises:
          SoftPromptError: for a mistake in settings, data or backbone, or a loss that is not finite.
        """
        if trial.arm == "prompt_tuning":
            return self._run_prompt(trial, scorings)
        if trial.arm in WEIGHTS:
            return self._run_weights(trial, scorings)
        t5 = self._prompt_tuner(trial).t5
        return [untrained_result(t5, scoring) for scoring in scorings]

    def run_vote(self, vote: Vote) -> list[RunResult]:
        """Score the prompts of finished trials together: the best of them, and their majority vote."""
        return vote_results(self._prompt_tuner(vote.trials[0]).t5, vote, self.directory)

    def clean(self, trial: Trial) -> None:
        """Remove the weights of a trial of which nothing is left to be scored."""
        (self.directory / trial.name / "state.safetensors").unlink(missing_ok=True)

    # === Prompts ===

    def _run_prompt(self, trial: Trial, scorings: Sequence[Scoring]) -> list[RunResult]:
        if trial.name in self._failed:
            raise self._failed.pop(trial.name)
        tuner = self._prompt_tuner(trial)
        data = training_data(trial.tasks[0], trial.settings.rows)
        model, record = tuner.tune(self._config(trial), data, run_digest=digest(trial.config))
        return [
            self._result(scoring, record, _with_limits(model, load_task(scoring.eval_task))) for scoring in scorings
        ]

    def _config(self, trial: Trial) -> RunConfig:
        settings = trial.settings
        return RunConfig(
            backbone=settings.backbone,
            task=trial.tasks[0],
            prompt=settings.prompt,
            training=settings.training,
            output_dir=str(self.directory / trial.name),
            seed=trial.seed,
        )

    def _prompt_tuner(self, trial: Trial) -> PromptTuner:
        training = trial.settings.training
        key = (trial.settings.backbone, training.precision, training.strategy, training.devices)
        if key not in self._prompt_tuners:
            check_is_one_process(training.strategy, "A sweep")
            strategy = make_strategy(training.strategy)
            with strategy.scope():
                t5 = self._backbones.load(trial.settings.backbone, dtype=training.precision, devices=training.devices)
            self._prompt_tuners = {key: PromptTuner(t5, strategy=strategy)}  # a large backbone leaves no room for two
        return self._prompt_tuners[key]

    # === Weights ===

    def _run_weights(self, trial: Trial, scorings: Sequence[Scoring]) -> list[RunResult]:
        directory = self.directory / trial.name
        tuner = self._model_tuner(trial)
        tuned = tuner.tune(
            [training_data(task, trial.settings.rows) for task in trial.tasks],
            trial.settings.model_tuning,
            seed=trial.seed,
            state_path=directory / "state.safetensors",
            run_digest=digest(trial.config),
        )
        # The steps before a restart were timed by the process that took them.
        seconds_per_step = tuned.seconds_per_step or (read_record(directory) or _NOTHING).seconds_per_step
        record = TrialRecord(tuned.metrics, tuned.best_step, tuned.seconds, seconds_per_step)
        write_record(directory, record)
        return [self._result(scoring, record, tuner.answerer(load_task(scoring.eval_task))) for scoring in scorings]

    def _model_tuner(self, trial: Trial) -> ModelTuner:
        training = trial.settings.training
        key = (trial.settings.backbone, training.precision, str(training.z_loss))
        if key not in self._model_tuners:
            frozen = [tuner.t5 for known, tuner in self._prompt_tuners.items() if known[:2] == (key[0], "float32")]
            t5 = frozen[0] if frozen else self._backbones.load(trial.settings.backbone)
            self._model_tuners = {key: ModelTuner(t5, precision=training.precision, z_loss=training.z_loss)}
        return self._model_tuners[key]

    # === Results ===

    def _result(self, scoring: Scoring, record: TrialRecord, model: AnswersTexts) -> RunResult:
        """Return a trained trial's result: as it was measured in training, or on other rows now."""
        if scoring.eval_task == scoring.task:
            share = record.seconds / len(scoring.trial.tasks)  # so that a run on several tasks is counted once
            return scoring.result(record.metrics[scoring.task.name], record.step, share)
        started = time.monotonic()
        metrics = _metrics(model, scoring.eval_task, scoring.trial)
        return scoring.result(metrics, record.step, time.monotonic() - started)


_NOTHING = TrialRecord({}, 0, 0.0, 0.0)


def _metrics(model: AnswersTexts, task: TaskConfig, trial: Trial) -> dict[str, float]:
    return evaluate_examples(model, load_task(task), scored_examples(task, trial.settings.rows)).metrics


def _with_limits(model: PromptedT5, task: Task) -> PromptedT5:
    """Return the model with its prompt and another task's limits; itself where the limits are the same."""
    wanted: dict[str, Any] = {
        "max_input_tokens": task.max_input_tokens,
        "max_target_tokens": task.target_token_limit(model.t5.tokenize),
        "target_format": task.target_format,
    }
    if all(getattr(model, name) == value for name, value in wanted.items()):
        return model
    return PromptedT5(model.t5, dataclasses.replace(model.task_prompt(task.name), **wanted))
