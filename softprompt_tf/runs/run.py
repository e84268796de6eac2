"""Train by a config, and write the run directory: prompt, settings, metrics, predictions, logs and checkpoints.

OUTPUT/prompt.safetensors    the prompt that did best on the dev split (one task)
OUTPUT/TASK.safetensors      likewise, one file per task, where several are trained at once
OUTPUT/config.yaml           the config as it was resolved
OUTPUT/run.json              digests of the rows and of the backbone
OUTPUT/precision.json        the precision that was chosen, where the config says auto
OUTPUT/metrics.json          metrics of the dev split, of the test split and of the majority baseline; every evaluation
OUTPUT/predictions.jsonl     the dev split's rows with the model's answers
OUTPUT/logs/                 TensorBoard
OUTPUT/checkpoints/          what a run that was cut short goes on from
OUTPUT/states/               cached states that are too large for the memory, until the run is finished
"""

import contextlib
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from softprompt_tf.backbones import load_t5
from softprompt_tf.config import RunConfig, dump_config
from softprompt_tf.errors import TrainingError
from softprompt_tf.evaluation.asking import AnswersTexts
from softprompt_tf.evaluation.evaluation import evaluate_examples
from softprompt_tf.evaluation.scores import TaskScores, majority_baseline, write_predictions
from softprompt_tf.evaluation.shared_answers import shared_answers
from softprompt_tf.files.atomic_file import write_atomically
from softprompt_tf.files.directory_lock import locked
from softprompt_tf.model.prompted_t5 import PromptedT5
from softprompt_tf.progress import say
from softprompt_tf.runs.configured import build_model, training_batches
from softprompt_tf.runs.dev_scores import DevScores
from softprompt_tf.runs.precision_choice import with_chosen_precision
from softprompt_tf.runs.precision_measurement import measured_run
from softprompt_tf.runs.run_files import CONFIG_FILE, METRICS_FILE, PREDICTIONS_FILE, check_is_free, prompt_files
from softprompt_tf.runs.run_identity import RunRecord, check_settings, config_digest
from softprompt_tf.runs.run_states import SPILLED, RunBatches, run_state_cache, task_answers
from softprompt_tf.runs.several_workers import check_same_run_everywhere, shared_run
from softprompt_tf.runs.task_data import TaskData as TaskData
from softprompt_tf.runs.task_data import read_task_data
from softprompt_tf.shown_numbers import counted
from softprompt_tf.states.state_file import remove_spilled
from softprompt_tf.tasks import (
    Example,
    Task,
    load_task,
    score,
    tell_cut_examples,
)
from softprompt_tf.training import (
    TrainingResult,
    found_words,
    make_strategy,
    train_prompt,
)
from softprompt_tf.training.saved_run import Checkpoints
from softprompt_tf.workers import is_chief


@dataclass(frozen=True)
class RunResult:
    """What a run left behind.

    Args:
      prompts: task name -> prompt file.
      scores: task name -> metrics and predictions on the dev split.
      training: how the training went.
      output_dir: the run directory.
      test_scores: task name -> the same on the test split, for tasks that have one.
      majority: task name -> split -> metrics of always answering the commonest training label, for tasks with labels.
      words: the text that a prompt reads as, where it was searched for (autoprompt).
    """

    prompts: dict[str, Path]
    scores: dict[str, TaskScores]
    training: TrainingResult
    output_dir: Path
    test_scores: dict[str, TaskScores] = field(default_factory=dict)
    majority: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    words: str | None = None


def train_run(config: RunConfig, *, on_start: Callable[[], None] | None = None) -> RunResult:
    """Train, or go on training, what a config asks for, and write the run directory.

    Args:
      config: of the run.
      on_start: is called when all is read and checked, before the first step.

    Raises:
      ConfigError, DataError, BackboneError: for a mistake in the config, its data or its backbone.
      TrainingError: if the run directory holds a run of other settings, rows or backbone, or a prompt without the checkpoints of
        its run; if another process is using it, or the training cannot go on.
      WorkerLostError: if another worker of `training.strategy: multi_worker` ends before the run does, or never comes. The chief
        alone writes files and calls `on_start`.
    """
    with shared_run(config):
        data = [read_task_data(load_task(task)) for task in config.tasks]
        with locked(config.output_dir, error_type=TrainingError) if is_chief() else contextlib.nullcontext():
            return _train_run(config, data, on_start)


def _train_run(config: RunConfig, data: Sequence[TaskData], on_start: Callable[[], None] | None) -> RunResult:
    output_dir = Path(config.output_dir)
    if is_chief() and not Checkpoints(output_dir / "checkpoints").are_there():
        check_is_free(config, [each.task.name for each in data])
    config = with_chosen_precision(config, lambda: measured_run(config, data))
    has_begun = is_chief() and check_settings(output_dir, config)
    record = RunRecord(output_dir, has_begun=has_begun, is_kept=is_chief())
    rows = {each.task.name: {"train": each.train, "validation": each.validation} for each in data}
    record.check_rows(rows, [each.task for each in data])
    record.check_first_values(config.prompt.first_values)
    record.check_teachers(config.training.distill_from)
    record.check_sources(getattr(config.prompt, "sources", ()))
    strategy = make_strategy(config.training.strategy)
    keras.utils.set_random_seed(config.seed % 2**32)
    with strategy.scope():
        t5 = load_t5(config.backbone, dtype=config.training.precision, devices=config.training.devices)
        record.check_backbone(config.backbone, t5.fingerprint)
        model = build_model(t5, config, [each.task for each in data])
    check_same_run_everywhere(config, data, t5.fingerprint)
    if is_chief():
        _begin(model, config, data, on_start)
    cache = run_state_cache(model, config)
    answers = functools.cache(
        lambda: [shared_answers(task_answers(model, each.task, cache=cache, examples=each.validation)) for each in data]
    )
    dev = DevScores(lambda: _score_all(answers(), data))
    training = train_prompt(
        model,
        RunBatches(
            training_batches(t5, model, data, config),
            cache,
            pad_to_multiple_of=config.training.pad_to_multiple_of,
            with_task_id=model.task_ids is not None,
            steps=config.training.steps,
        ),
        steps=config.training.steps,
        seed=config.seed,
        evaluate=dev.evaluate,
        on_best=dev.keep,
        evaluate_every=config.training.evaluate_every,
        patience=config.training.early_stopping_patience,
        checkpoint_dir=output_dir / "checkpoints",
        checkpoint_every=config.training.checkpoint_every,
        config_digest=config_digest(config),
        log_dir=output_dir / "logs",
    )
    asked = {each.task.name: shared_answers(task_answers(model, each.task)) for each in data}
    # Cached states may be rounded; the prompt's own scores are those of the whole model.
    scores = (dev.of_best() if cache is None else None) or _score_all(list(asked.values()), data)
    result = RunResult(
        prompts=_save_prompts(model, data, scores, config),
        scores=dict(scores),
        training=training,
        output_dir=output_dir,
        test_scores={
            each.task.name: _score(asked[each.task.name], each.task, _told(each), has_tasks=len(data) > 1)
            for each in data
            if each.test
        },
        majority={each.task.name: _majority(each) for each in data if each.task.label_words},
        words=found_words(model)[0] if config.training.optimizer == "autoprompt" else None,
    )
    if is_chief():
        _write_results(result)
        remove_spilled(output_dir / SPILLED)
    return result


def _begin(model: PromptedT5, config: RunConfig, data: Sequence[TaskData], on_start: Callable[[], None] | None) -> None:
    path = Path(config.output_dir) / CONFIG_FILE
    write_atomically(path, dump_config(config).encode("utf-8"), error_type=TrainingError)
    if on_start is not None:
        on_start()
    _tell_cut_rows(model, data)


def _tell_cut_rows(model: PromptedT5, data: Sequence[TaskData]) -> None:
    for each in data:
        for split, examples in (("train", each.train), ("dev", each.validation), ("test", each.test)):
            if not examples:
                continue
            tell_cut_examples(
                examples,
                model.t5.tokenize,
                max_input_tokens=each.task.max_input_tokens,
                max_target_tokens=each.task.target_token_limit(model.t5.tokenize),
                name=f"{each.task.name}, {split}",
                places=model.text_places,
            )


def _score(answers: AnswersTexts, task: Task, examples: Sequence[Example], *, has_tasks: bool) -> TaskScores:
    return evaluate_examples(answers, task, examples, task_id=task.name if has_tasks else None)


def _told(data: TaskData) -> Sequence[Example]:
    """Return the test rows, and say that they are being scored, which may take a while."""
    if is_chief():
        say(f"{data.task.name}: scoring {counted(len(data.test), 'test row')}")
    return data.test


def _majority(data: TaskData) -> dict[str, dict[str, float]]:
    splits = {"validation": data.validation, "test": data.test}
    return {split: majority_baseline(data.task, data.train, rows) for split, rows in splits.items() if rows}


def _score_all(answers: Sequence[AnswersTexts], data: Sequence[TaskData]) -> dict[str, TaskScores]:
    """Score the dev split of each task, by what answers it."""
    return {
        each.task.name: _score(of_task, each.task, each.validation, has_tasks=len(data) > 1)
        for of_task, each in zip(answers, data, strict=True)
    }


def _save_prompts(
    model: PromptedT5, data: Sequence[TaskData], scores: Mapping[str, TaskScores], config: RunConfig
) -> dict[str, Path]:
    files = dict(prompt_files(config, [each.task.name for each in data]))
    for each in data:
        task = each.task
        if not is_chief():
            continue
        model.save_prompt(
            files[task.name],
            task_id=task.name,
            template=task.inputs,
            labels=task.label_words,
            max_input_tokens=task.max_input_tokens,
            max_target_tokens=task.target_token_limit(model.t5.tokenize),
            metrics=scores[task.name].metrics,
            training_config=config.model_dump(mode="json"),
        )
    return files


def _write_results(result: RunResult) -> None:
    output_dir, scores, training = result.output_dir, result.scores, result.training
    metrics = {
        "validation": {name: each.metrics for name, each in scores.items()},
        "test": {name: each.metrics for name, each in result.test_scores.items()},
        "majority": result.majority,
        "score": float(np.mean([score(each.metrics) for each in scores.values()])),
        **({} if result.words is None else {"words": result.words}),
        "best_step": training.best_step,
        "steps_done": training.steps_done,
        "stopped_early": training.stopped_early,
        "seconds_per_step": training.seconds_per_step or _last_seconds_per_step(output_dir),
        "history": [{"step": each.step, "score": each.score, "metrics": each.metrics} for each in training.history],
    }
    text = json.dumps(metrics, indent=2) + "\n"
    write_atomically(output_dir / METRICS_FILE, text.encode("utf-8"), error_type=TrainingError)
    predictions = [prediction for each in scores.values() for prediction in each.predictions]
    write_predictions(output_dir / PREDICTIONS_FILE, predictions)


def _last_seconds_per_step(output_dir: Path) -> float:
    """Return what an earlier start measured, where this one had no step to take."""
    path = output_dir / METRICS_FILE
    return float(json.loads(path.read_text("utf-8")).get("seconds_per_step", 0.0)) if path.is_file() else 0.0
