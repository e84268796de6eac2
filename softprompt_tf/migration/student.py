"""The new model of a migration: a prompt of one task, trained to answer as the old model did."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from softprompt_tf.backbones import EOS_ID, FrozenT5
from softprompt_tf.errors import ConfigError, PromptError
from softprompt_tf.export.graph.served_tasks import ServedTask
from softprompt_tf.methods import PromptInitializer, Vocabulary, init, prompt_tuning
from softprompt_tf.methods.recycling import Recycler
from softprompt_tf.methods.task_tensors import PROMPT_OF_POSITION, prompt_name
from softprompt_tf.migration.answers import Answers
from softprompt_tf.migration.settings import DEFAULT_LENGTH, MigrationSettings
from softprompt_tf.migration.soft_targets import WeightedBatches, weighted_rows
from softprompt_tf.model.prompted_t5 import PromptedT5
from softprompt_tf.progress import say
from softprompt_tf.prompt_places import as_template, plain_text, rows_of_template, too_many_rows
from softprompt_tf.runs.configured import make_loss_terms, make_optimizer
from softprompt_tf.tasks import BatchStream, check_labels, ended_ids, tell_cut_examples, tokenize_examples
from softprompt_tf.training import TargetCrossEntropy, TrainingResult, train_prompt
from softprompt_tf.training.best_prompt import Evaluate


@dataclass(frozen=True)
class Start:
    """How a new prompt starts: its rows, and the words for them."""

    init: PromptInitializer
    text: str


def start_of(
    task: ServedTask,
    prompt: np.ndarray | None,
    recycler: Recycler | None,
    settings: MigrationSettings,
) -> Start:
    """Return the recycled prompt, or where there is none to recycle the task's labels or pieces of the vocabulary.

    Args:
      task: the task.
      prompt: its rows [P, H] on the old backbone; None where it has none.
      recycler: from the old backbone to the new one; None where nothing is to be recycled.
      settings: of the migration.
    """
    plain = init.class_labels(task.labels) if _can_start_from_labels(task, settings) else init.sampled_vocabulary()
    otherwise = Start(plain, "labels" if plain.description.startswith("class_labels") else "vocabulary")
    if prompt is None or recycler is None:
        return otherwise
    try:
        rows = recycler.rows(prompt)
    except PromptError as error:
        say(f"{task.task_id}: starts from {otherwise.text}. {error}")
        return otherwise
    return Start(_first_rows(rows, plain), f"recycled ({settings.recycle})")


def new_model(task: ServedTask, start: Start, t5: FrozenT5, settings: MigrationSettings) -> PromptedT5:
    """Return the compiled model of one task, its prompt as it starts.

    Raises:
      ConfigError: if two labels are the same to the new backbone.
    """
    limit, length, template = target_limit(task, t5), length_of(task, settings), template_of(task)
    if rows_of_template(template) > length:
        raise ConfigError(too_many_rows(rows_of_template(template), length, f"the template of task {task.task_id!r}"))
    check_labels(
        task.labels,
        t5.tokenize,
        max_target_tokens=limit,
        error_type=ConfigError,
        subject=f"the labels of task {task.task_id!r}",
    )
    model = PromptedT5(
        t5,
        prompt_tuning(length_of(task, settings), start.init, position=position_of(task), seed=settings.seed),
        labels=task.labels,
        max_input_tokens=task.max_input_tokens,
        max_target_tokens=limit,
        target_format="sentinel" if task.opening_id else "text",
    )
    model.compile(
        optimizer=make_optimizer(settings.training),
        loss=TargetCrossEntropy(z_loss=settings.training.z_loss),
        gradient_checkpointing=settings.training.gradient_checkpointing,
        micro_batch_size=settings.training.micro_batch_size,
        prompt_dropout=settings.training.prompt_dropout,
        loss_terms=make_loss_terms(settings.training),
    )
    return model


def train_student(
    model: PromptedT5,
    task: ServedTask,
    inputs: Sequence[str],
    answers: Answers,
    *,
    evaluate: Evaluate,
    settings: MigrationSettings,
    checkpoint_dir: Path,
    digest: str,
) -> TrainingResult:
    """Train a prompt on the old model's answers, or go on where that was cut short.

    Args:
      model: as it starts.
      task: the task.
      inputs: rendered lines.
      answers: of the old model.
      evaluate: chooses the best step.
      settings: of the migration.
      checkpoint_dir: where it goes on from.
      digest: of all that decides the result; checkpoints of another one are refused.
    """
    keras.utils.set_random_seed(settings.seed % 2**32)
    training = settings.training
    return train_prompt(
        model,
        _batches(model, task, inputs, answers, settings),
        steps=training.steps,
        seed=settings.seed,
        evaluate=evaluate,
        evaluate_every=training.evaluate_every,
        patience=training.early_stopping_patience,
        checkpoint_dir=checkpoint_dir,
        checkpoint_every=training.checkpoint_every,
        config_digest=digest,
    )


def answers_of(model: PromptedT5, inputs: Sequence[str]) -> Answers:
    """Return what the new model answers."""
    if not model.labels:
        return Answers(tuple(model.generate(inputs)))
    chosen = model.classify(inputs)
    logs = np.array([each.log_probabilities for each in chosen], np.float64)  # [N, C]
    return Answers(tuple(each.label for each in chosen), np.exp(logs))


def rendered(task: ServedTask, lines: Sequence[str]) -> list[str]:
    """Put a task's template around lines, as the old model's server does."""
    if rows_of_template(template_of(task)):
        lines = [plain_text(line) for line in lines]
    return [f"{task.text_before}{line}{task.text_after}" for line in lines]


def template_of(task: ServedTask) -> str:
    """Return a template of one field that puts the same text around it; "" where there is none."""
    texts = (task.text_before, task.text_after)
    is_marked = position_of(task) == "marked"
    before, after = (as_template(text) if is_marked else text.replace("{", "{{").replace("}", "}}") for text in texts)
    return f"{before}{{text}}{after}" if before or after else ""


def length_of(task: ServedTask, settings: MigrationSettings) -> int:
    """Return P of the new prompt."""
    name = prompt_name(task.lengths)
    return settings.length or (DEFAULT_LENGTH if name is None else task.lengths[name])


def position_of(task: ServedTask) -> str:
    """Return where the rows of the new prompt go: where those of the old one did."""
    name = prompt_name(task.lengths)
    return next((position for position, own in PROMPT_OF_POSITION.items() if own == name), "front")


def target_limit(task: ServedTask, t5: FrozenT5) -> int:
    """Return how many tokens a target may have: the old limit, or as many as the labels need where the new tokenizer has others."""
    old = task.max_target_tokens - int(task.opening_id > 0)
    pieces = t5.tokenize(list(task.labels))
    opened = tuple(tuple(ended_ids(ids, old, opening_id=task.opening_id)) for ids in pieces)
    if opened == task.label_ids:
        return old
    return max([old, *(1 + len(ids) for ids in pieces)])


def _first_rows(rows: np.ndarray, rest: PromptInitializer) -> PromptInitializer:
    """Return what starts with these rows, cut where the prompt is shorter, and goes on with those of `rest`."""

    def draw(vocabulary: Vocabulary, seed: int, shape: tuple[int, int]) -> np.ndarray:
        missing = shape[0] - len(rows)
        if missing <= 0:
            return rows[: shape[0]]
        return np.concatenate([rows, rest(vocabulary)(seed, (missing, shape[1]))])

    return PromptInitializer(f"recycled rows {list(rows.shape)}", draw)


def _can_start_from_labels(task: ServedTask, settings: MigrationSettings) -> bool:
    return 0 < len(task.labels) <= length_of(task, settings)


def _batches(
    model: PromptedT5, task: ServedTask, inputs: Sequence[str], answers: Answers, settings: MigrationSettings
) -> WeightedBatches:
    examples, weights = weighted_rows(inputs, answers, task.labels)
    limits: dict[str, Any] = {
        "max_input_tokens": model.max_input_tokens,
        "max_target_tokens": model.max_target_tokens,
        "places": model.text_places,
    }
    tell_cut_examples(examples, model.t5.tokenize, name=task.task_id, **limits)
    opening_id = model.text_batches.opening_id
    tokenized = tokenize_examples(examples, model.t5.tokenize, eos_id=EOS_ID, opening_id=opening_id, **limits)
    training = settings.training
    stream = BatchStream(
        tokenized,
        batch_size=training.batch_size,
        seed=settings.seed,
        length_buckets=training.length_buckets,
        pad_to_multiple_of=training.pad_to_multiple_of,
    )
    return WeightedBatches(stream, weights)
