"""Train a compiled model on batches, resumably, and leave the best prompt in it.

This is `model.fit` with what a long run on a machine that may go away needs: it picks up where it was killed and ends
with the same prompt, bit by bit, as a run that was not.
"""

import contextlib
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import keras
import tensorflow as tf

from softprompt_tf.errors import ConfigError, NonFiniteLossError, TrainingError
from softprompt_tf.files.directory_lock import locked
from softprompt_tf.model.text_model import TextModel
from softprompt_tf.training.best_prompt import Evaluate, Evaluation, KeepBestPrompt, OnBest
from softprompt_tf.training.callbacks import BatchLogs, StopOnNonFiniteLoss, steps_done
from softprompt_tf.training.progress import (
    ProgressBar,
    ProgressLines,
    progress,
    tell_finished,
    tell_resumed,
    tell_stopped,
)
from softprompt_tf.training.prompt_checkpoint import PromptCheckpoint
from softprompt_tf.training.saved_run import saved_on_interrupt
from softprompt_tf.training.tensorboard import TensorBoardScalars
from softprompt_tf.workers import joined
from softprompt_tf.workers.lost import told_of_loss

Report = ProgressBar | ProgressLines | TensorBoardScalars


class Batches(Protocol):
    """Training data of which batch number s is a function of the seed and s alone."""

    def dataset(self, *, first_step: int) -> tf.data.Dataset:
        """Return the (inputs, targets [B, U]) from batch number `first_step` on, to the last step of the run at least."""


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """How a run went.

    Attributes:
      steps_done: batches taken, those before a resume included.
      best_step: the step whose prompt is in the model now, None without evaluations.
      best_score: its mean of metrics on the dev split.
      history: every evaluation, oldest first.
      seconds_per_step: median over this process's steps, 0 if it took none.
      stopped_early: whether `patience` ran out before the last step.
      steps_taken: batches taken by this call; 0 where the run was finished before.
      seconds: of training and evaluating, those before a resume included.
    """

    steps_done: int
    best_step: int | None
    best_score: float | None
    history: tuple[Evaluation, ...]
    seconds_per_step: float
    stopped_early: bool
    steps_taken: int = 0
    seconds: float = 0.0

    @property
    def chosen(self) -> Evaluation:
        """The evaluation whose weights are in the model: the best one; the last one where no score was a number."""
        return next((each for each in self.history if each.step == self.best_step), self.history[-1])


def train_prompt(
    model: keras.Model,
    batches: Batches,
    *,
    steps: int,
    seed: int,
    evaluate: Evaluate | None = None,
    evaluate_every: int | None = None,
    on_best: OnBest | None = None,
    patience: int | None = None,
    checkpoint_dir: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 100,
    config_digest: str = "",
    log_dir: str | os.PathLike[str] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> TrainingResult:
    """Train the model's prompt for so many steps, continuing from `checkpoint_dir` if a run was stopped there.

    The model is compiled by the caller, under its distribution strategy. XLA compilation is switched off, as every new
    length of a batch would compile the T5 again. Bit-equal resuming needs deterministic kernels: CPU kernels are; on a
    GPU call `tf.config.experimental.enable_op_determinism()`. Of several workers the chief alone reads and writes checkpoints
    and shows progress.

    Args:
      model: a compiled Keras model; what is trainable in it is trained.
      batches: the training data; with several workers this worker's part of it, such as
        `BatchStream(..., part=softprompt_tf.workers.own_part())`.
      steps: batches to take in all, those before a resume included.
      seed: the seed that `batches` was made with; a checkpoint of another seed is refused.
      evaluate: scores the model on the dev split, higher is better. Without it the last prompt is kept.
      evaluate_every: steps between two evaluations. Default None, only the last step is scored.
      on_best: is called with what is trained (the prompt, or a tuple of several variables) and its metrics at each gain.
      patience: stop after so many evaluations in a row without gain.
      checkpoint_dir: folder of the checkpoints. Default None, none are written.
      checkpoint_every: steps between two checkpoints.
      config_digest: the run's config in short; a checkpoint of another config is refused.
      log_dir: folder of the TensorBoard files. Default None, none are written.
      callbacks: Keras callbacks of the caller; they run after the evaluation and before the checkpoint.

    Returns:
      TrainingResult. The model holds the best prompt, or the last one without `evaluate`.

    Raises:
      ConfigError: if a number is out of range.
      TrainingError: if the model cannot be trained, the checkpoint is of another run, another process is using
        `checkpoint_dir`, or the data ends.
      NonFiniteLossError: if the loss, or a trained value, is NaN or infinite at some step. The model holds the best prompt so far,
        and the newest checkpoint is from before that step.
      WorkerLostError: if another worker of the training ends before its end.
      KeyboardInterrupt: as it came, after a checkpoint was saved.

    Examples:
      >>> from softprompt_tf.tasks import BatchStream, load_task, tokenize_examples
      >>> rows = load_task("film.yaml").examples("train")
      >>> tokens = tokenize_examples(rows, t5.tokenize, max_input_tokens=32, max_target_tokens=4)
      >>> batches = BatchStream(tokens, batch_size=2, seed=1)
      >>> result = sp.train_prompt(model, batches, steps=2, seed=1, checkpoint_dir="checkpoints")
      >>> result.steps_done
      2
    """
    if steps < 1:
        raise ConfigError(f"`steps` must be at least 1. Received: steps={steps}.")
    workers = joined()
    if workers is not None and not workers.is_chief:
        checkpoint_dir = log_dir = None
    with contextlib.nullcontext() if checkpoint_dir is None else locked_checkpoints(Path(checkpoint_dir)):
        keep_best = KeepBestPrompt(
            evaluate, every_steps=evaluate_every or steps, on_best=on_best, patience=patience, last_step=steps
        )
        checkpoint = PromptCheckpoint(
            checkpoint_dir, every_steps=checkpoint_every, seed=seed, config_digest=config_digest, keep_best=keep_best
        )
        reports: list[Report] = [progress(last_step=steps)] if workers is None or workers.is_chief else []
        if log_dir is not None:
            reports.append(TensorBoardScalars(log_dir))
        try:
            return train(model, batches, keep_best, checkpoint, steps=steps, reports=reports, callbacks=callbacks)
        except KeyboardInterrupt:
            if checkpoint_dir is not None and reports:
                tell_stopped(steps_done(model), steps)
            raise


def train(
    model: keras.Model,
    batches: Batches,
    keep_best: KeepBestPrompt,
    checkpoint: PromptCheckpoint,
    *,
    steps: int,
    reports: Sequence[Report] = (),
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> TrainingResult:
    """Train whatever is trainable in a model, as `train_prompt` does, with the caller's own evaluation, state and reports."""
    _prepare(model)
    keep_best.set_model(model)
    checkpoint.resume(model)
    keep_best.catch_up()
    batch_logs, first_step = BatchLogs(), steps_done(model)
    if first_step >= steps or keep_best.is_exhausted:
        tell_finished(first_step, steps)
        keep_best.restore_best()
    else:
        if first_step and reports:
            tell_resumed(first_step, steps)
        ordered = [batch_logs, StopOnNonFiniteLoss(), keep_best, *reports, *callbacks, checkpoint]
        dataset, left = batches.dataset(first_step=first_step), steps - first_step
        with contextlib.ExitStack() as stack:
            stack.enter_context(told_of_loss(joined()))
            for report in reports:
                stack.callback(report.close)
            stack.enter_context(saved_on_interrupt(checkpoint.save))
            try:
                model.fit(dataset, epochs=1, steps_per_epoch=left, shuffle=False, verbose=0, callbacks=ordered)
            except NonFiniteLossError:
                keep_best.restore_best()
                raise
        if steps_done(model) < steps and not model.stop_training:
            raise TrainingError(
                f"Batches must go on until step {steps}. Received: a data set that ended at step {steps_done(model)}."
            )
    return TrainingResult(
        steps_done=steps_done(model),
        best_step=keep_best.best.step,
        best_score=keep_best.best.score,
        history=keep_best.best.history,
        seconds_per_step=batch_logs.seconds_per_step,
        stopped_early=steps_done(model) < steps,
        steps_taken=steps_done(model) - first_step,
        seconds=checkpoint.seconds,
    )


def locked_checkpoints(checkpoint_dir: Path) -> contextlib.AbstractContextManager[None]:
    """Lock a folder of checkpoints by a file beside it: in it are checkpoints alone."""
    return locked(checkpoint_dir.parent, error_type=TrainingError, name=f".{checkpoint_dir.name}.lock")


def _prepare(model: keras.Model) -> None:
    if getattr(model, "optimizer", None) is None:
        raise TrainingError("The model must be compiled before training. Received: a model without an optimizer.")
    if joined() is not None and not isinstance(model, TextModel):
        raise TrainingError(
            f"Several workers train a PromptedT5. Received: a {type(model).__name__}. Train it in one process."
        )
    if not model.trainable_variables:
        raise TrainingError("The model must have a trainable prompt. Received: a model without trainable variables.")
    if model.steps_per_execution != 1:
        raise TrainingError(
            "`train_prompt` looks at every step, so compile with steps_per_execution=1. "
            f"Received: steps_per_execution={model.steps_per_execution}."
        )
    model.jit_compile = False
    if not model.optimizer.built:
        with model.distribute_strategy.scope():
            model.optimizer.build(model.trainable_variables)
