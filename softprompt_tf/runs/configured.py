"""What a run's config asks for, made: its model, method, optimizer and batches; and the checks of its tasks."""

from collections.abc import Sequence

import keras

from softprompt_tf.backbones import EOS_ID, FrozenT5
from softprompt_tf.config import RunConfig, TrainingConfig
from softprompt_tf.errors import ConfigError
from softprompt_tf.methods import PromptMethod
from softprompt_tf.methods.family.method_config import TaskStart
from softprompt_tf.model.prompted_t5 import PromptedT5
from softprompt_tf.prompt_places import too_many_rows
from softprompt_tf.runs.task_data import TaskData as TaskData
from softprompt_tf.tasks import (
    BatchStream,
    Task,
    TokenizedExamples,
    check_labels,
    tokenize_examples,
    warn_of_labels,
)
from softprompt_tf.training import (
    Adafactor,
    AutoPrompt,
    CosineRestarts,
    Distillation,
    LossTerm,
    NearText,
    Prodigy,
    ScheduleFreeAdam,
    TargetCrossEntropy,
)
from softprompt_tf.workers import own_part


def build_model(t5: FrozenT5, config: RunConfig, tasks: Sequence[Task]) -> PromptedT5:
    """Return the compiled model that a config asks for, its prompt as it starts.

    Raises:
      ConfigError: if a task's labels are the same to the model.
    """
    for task in tasks:
        check_task_labels(task, t5)
        if len(tasks) > 1:  # the model of one task knows its labels and warns of them
            limit = task.target_token_limit(t5.tokenize)
            warn_of_labels(task.label_words, t5.tokenize, max_target_tokens=limit)
    model = PromptedT5(
        t5,
        prompt_method(config, tasks),
        labels=tasks[0].label_words if len(tasks) == 1 else (),
        max_input_tokens=max(task.max_input_tokens for task in tasks),
        max_target_tokens=max(task.target_token_limit(t5.tokenize) for task in tasks),
        target_format=shared_target_format(tasks),
    )
    model.compile(
        optimizer=make_optimizer(config.training, seed=config.seed),
        loss=TargetCrossEntropy(z_loss=config.training.z_loss),
        gradient_checkpointing=config.training.gradient_checkpointing,
        micro_batch_size=config.training.micro_batch_size,
        prompt_dropout=config.training.prompt_dropout,
        loss_terms=make_loss_terms(config.training),
    )
    return model


def check_task_labels(task: Task, t5: FrozenT5) -> None:
    """Refuse a task with two labels that are the same to a T5, with a ConfigError."""
    check_labels(
        task.label_words,
        t5.tokenize,
        max_target_tokens=task.target_token_limit(t5.tokenize),
        error_type=ConfigError,
        subject=f"the labels of task {task.name}",
    )


def shared_target_format(tasks: Sequence[Task]) -> str:
    """Return the one `target_format` of tasks that are trained at once; a ConfigError if they differ."""
    formats = {task.name: task.target_format for task in tasks}
    if len(set(formats.values())) != 1:
        received = ", ".join(f"{name}: {value}" for name, value in formats.items())
        raise ConfigError(
            f"Tasks that are trained at once must have the same `target_format`. Received: {received}. Train them one by one."
        )
    return tasks[0].target_format


def prompt_method(config: RunConfig, tasks: Sequence[Task]) -> PromptMethod:
    """Return the method that a config asks for, which knows how its prompts start."""
    names = [task.name for task in tasks]
    if len(set(names)) != len(names):
        raise ConfigError(f"The tasks of a run must have different names. Received: {', '.join(names)}.")
    starts = [TaskStart(task.name, tuple(task.label_words), task.inputs) for task in tasks]
    method: PromptMethod = config.prompt.make(starts, seed=config.seed)
    for task in tasks:
        _check_markers(task, method)
    return method


def _check_markers(task: Task, method: PromptMethod) -> None:
    asked = task.template.marked_rows
    if asked and method.position != "marked":
        raise ConfigError(
            "Markers in a template are for a method that puts rows of a prompt there. "
            f"Received: {task.inputs!r} of task {task.name}, and {method.name} with position {method.position}. "
            "Take the markers out, or choose such a method, such as prompt_tuning, without `prompt.position`."
        )
    if asked > method.length:
        raise ConfigError(too_many_rows(asked, method.length, f"the template {task.inputs!r} of task {task.name}"))


def make_optimizer(training: TrainingConfig, *, seed: int = 0) -> keras.optimizers.Optimizer:
    """Return the optimizer that a config asks for, with its rate; the seed is that of a search.

    Raises:
      ConfigError: if its schedule does not go with it, or with the number of steps.
    """
    if training.optimizer == "autoprompt":
        return AutoPrompt(candidates=training.search_candidates, window=training.search_window, seed=seed)
    rate = _learning_rate(training)
    if training.optimizer == "adam":
        return keras.optimizers.Adam(rate)
    if training.optimizer == "schedule_free_adam":
        return ScheduleFreeAdam(rate)
    if training.optimizer == "prodigy":
        rises = training.warmup_steps > 0 or training.schedule == "cosine_restarts"
        return Prodigy(rate, safeguard_warmup=rises)  # as its authors advise
    return Adafactor(rate, weight_decay_rate=training.weight_decay, initial_step=training.initial_step)


def make_loss_terms(training: TrainingConfig) -> list[LossTerm]:
    """Return the terms that a config adds to the loss."""
    terms: list[LossTerm] = []
    if training.near_text is not None:
        terms.append(NearText(training.near_text, weight=training.near_text_weight))
    if training.distill_from is not None:
        weights = {"weight": training.distill_weight, "hidden_weight": training.distill_hidden_weight}
        terms.append(Distillation(training.distill_from, **weights))
    return terms


def _learning_rate(training: TrainingConfig) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Return the steady rate, or a schedule that warms up from 0 and falls as one or several cosines to 0 or stays."""
    if training.optimizer == "schedule_free_adam" and training.schedule != "constant":
        raise ConfigError(
            "`training.optimizer: schedule_free_adam` needs `training.schedule: constant`, as it averages its steps. "
            f"Received: training.schedule={training.schedule}."
        )
    if training.schedule == "cosine_restarts":
        settings = {"cycles": training.cycles, "warmup_steps": training.warmup_steps}
        return CosineRestarts(training.learning_rate, training.steps, **settings)
    warms_up = training.warmup_steps > 0
    if training.schedule == "constant" and not warms_up:
        return training.learning_rate
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warms_up else training.learning_rate,
        decay_steps=max(1, training.steps - training.warmup_steps),
        alpha=1.0 if training.schedule == "constant" else 0.0,
        warmup_target=training.learning_rate if warms_up else None,
        warmup_steps=training.warmup_steps,
    )


def training_batches(t5: FrozenT5, model: PromptedT5, data: Sequence[TaskData], config: RunConfig) -> BatchStream:
    """Return the seeded stream of a run's training rows, those of several tasks mixed; of several workers, this one's part."""
    tokenized = [
        tokenize_examples(
            each.train,
            t5.tokenize,
            max_input_tokens=each.task.max_input_tokens,
            max_target_tokens=each.task.target_token_limit(t5.tokenize),
            eos_id=EOS_ID,
            opening_id=model.text_batches.opening_id,
            task_index=index,
            places=model.text_places,
            label_words=model.text_batches.label_words,
        )
        for index, each in enumerate(data)
    ]
    return BatchStream(
        TokenizedExamples.concatenate(tokenized),
        batch_size=config.training.batch_size,
        seed=config.seed,
        length_buckets=config.training.length_buckets,
        pad_to_multiple_of=config.training.pad_to_multiple_of,
        with_task_id=model.task_ids is not None,
        part=own_part(),
    )
