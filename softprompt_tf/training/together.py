"""Several prompts of one method on one frozen T5 enter; one step trains all of them, and each ends as it would alone.

A step has a batch of every prompt: its rows see its own values, and its loss is the mean over its own target tokens. The
frozen layers run once on the rows of all. Each prompt has its optimizer, order of rows, best step and checkpoints, as
alone, so it may begin together and go on alone, or the other way round.
"""

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.errors import SoftPromptError
from softprompt_tf.methods import TaskTable
from softprompt_tf.model.prompted_inputs import tuned_logits
from softprompt_tf.training.best_prompt import KeepBestPrompt
from softprompt_tf.training.callbacks import StopOnNonFiniteLoss, steps_done
from softprompt_tf.training.fit import Batches, TrainingResult
from softprompt_tf.training.losses import TargetCrossEntropy
from softprompt_tf.training.progress import progress
from softprompt_tf.training.prompt_checkpoint import PromptCheckpoint
from softprompt_tf.training.saved_run import saved_on_interrupt

Tensor = Any
Batch = tuple[dict[str, tf.Tensor], tf.Tensor]


class Candidate:
    """What trains of one prompt: its values and its optimizer. To callbacks it is the model.

    Args:
      table: of one task.
      optimizer: its own.
    """

    def __init__(self, table: TaskTable, optimizer: keras.optimizers.Optimizer):
        self.table = table
        self.optimizer = optimizer
        self.trainable_variables = table.trainable_variables
        self.variables = table.variables
        self.metrics: list[keras.Metric] = []
        self.stop_training = False
        optimizer.build(self.trainable_variables)

    def values(self) -> dict[str, Any]:
        """Return what is trained, by name, as it is now."""
        return {name: variable.numpy() for name, variable in self.table.variables_by_name.items()}


@dataclass
class Entry:
    """One prompt of `train_together`, with all that is its own.

    Args:
      candidate: what trains.
      batches: its training data; those of all entries have the same number of rows.
      keep_best: scores it, and keeps its best values.
      checkpoint: its state on the disk.
      steps: batches to take in all, those before a resume included.

    Attributes:
      error: why it ended early; None where it did not.
    """

    candidate: Candidate
    batches: Batches
    keep_best: KeepBestPrompt
    checkpoint: PromptCheckpoint
    steps: int
    error: SoftPromptError | None = None

    def __post_init__(self) -> None:
        self._callbacks: list[keras.callbacks.Callback] = [StopOnNonFiniteLoss(), self.keep_best, self.checkpoint]
        self._durations_s: list[float] = []
        self._first_step = 0

    # === Its way through the training ===

    @property
    def is_done(self) -> bool:
        """Whether it takes no further step."""
        return self.error is not None or steps_done(self.candidate) >= self.steps or self.keep_best.is_exhausted

    def begin(self) -> None:
        """Go on from its checkpoint, if it has one."""
        for callback in self._callbacks:
            callback.set_model(self.candidate)
        with self._kept_error():
            self.checkpoint.resume(self.candidate)
            self._first_step = steps_done(self.candidate)
            self.keep_best.catch_up()
            if self.is_done:
                self.keep_best.restore_best()
            for callback in self._callbacks:
                callback.on_train_begin()

    def after_step(self, loss: float, seconds: float) -> dict[str, Any]:
        """Do after a step what its callbacks do; return its logs."""
        self._durations_s.append(seconds)
        logs = {"loss": loss}
        with self._kept_error():
            for callback in self._callbacks:
                callback.on_train_batch_end(0, logs)
            if self.is_done:
                self.checkpoint.save()
                self.keep_best.on_train_end()
        return logs

    @contextlib.contextmanager
    def _kept_error(self) -> Iterator[None]:
        """Keep an error as this entry's own, so that the others go on."""
        try:
            yield
        except SoftPromptError as error:
            self.error = error

    def result(self) -> TrainingResult:
        """Return how it went."""
        best, step = self.keep_best.best, steps_done(self.candidate)
        return TrainingResult(
            steps_done=step,
            best_step=best.step,
            best_score=best.score,
            history=best.history,
            seconds_per_step=statistics.median(self._durations_s) if self._durations_s else 0.0,
            stopped_early=step < self.steps,
            steps_taken=step - self._first_step,
            seconds=self.checkpoint.seconds,
        )


def train_together(
    t5: FrozenT5, entries: Sequence[Entry], loss: TargetCrossEntropy, *, recompute: bool = False
) -> list[TrainingResult]:
    """Train several prompts of one method, each as `train_prompt` would.

    They need not stand at the same step, and one that ends early, or whose loss is no number any more, leaves the others.

    Args:
      t5: the frozen T5, without dropout.
      entries: the prompts; their tables have the same shapes and fold in the same way.
      loss: of all of them.
      recompute: whether each layer runs again for its gradient; see gradient checkpointing.

    Returns:
      A result for each entry. Its candidate holds the best values; `error` of an entry says why it ended early.

    Raises:
      BackboneError: if a weight of the T5 was made trainable, or changed.
      KeyboardInterrupt: as it came, after the checkpoints were saved.
    """
    t5.check_frozen()
    for entry in entries:
        entry.begin()
    while active := [entry for entry in entries if not entry.is_done]:
        with contextlib.ExitStack() as stack:
            for entry in active:
                stack.enter_context(saved_on_interrupt(entry.checkpoint.save))
            _train_until_one_ends(t5, active, loss, recompute)
    return [entry.result() for entry in entries]


def _train_until_one_ends(t5: FrozenT5, active: Sequence[Entry], loss: TargetCrossEntropy, recompute: bool) -> None:
    """Take steps of all, until one of them takes no more."""
    step = _step([entry.candidate for entry in active], t5, loss, recompute)
    datasets = [entry.batches.dataset(first_step=steps_done(entry.candidate)) for entry in active]
    batches = iter(tf.data.Dataset.zip(tuple(datasets)).map(_joined).prefetch(2))
    report = progress(last_step=max(entry.steps for entry in active))
    report.set_model(active[0].candidate)
    report.on_train_begin()
    with contextlib.closing(report):
        while not any(entry.is_done for entry in active):
            started = time.perf_counter()
            losses = step(batches).numpy()
            seconds = (time.perf_counter() - started) / len(active)
            logs = [entry.after_step(float(value), seconds) for entry, value in zip(active, losses, strict=True)]
            report.on_train_batch_end(0, _mean_logs(logs))


def _step(
    candidates: Sequence[Candidate], t5: FrozenT5, loss: TargetCrossEntropy, recompute: bool
) -> Callable[[Iterator[Batch]], tf.Tensor]:
    """Return the graph that takes a step of every candidate and returns the losses [K]."""
    tables = [candidate.table for candidate in candidates]

    def run(batches: Iterator[Batch]) -> tf.Tensor:
        x, y = next(batches)
        with tf.GradientTape() as tape:
            logits = tuned_logits(t5, lambda ids, _: _rows_of(tables, ids), x, recompute=recompute)
            losses = _losses(loss, y, logits, len(tables))
            total = tf.reduce_sum(losses)  # whose gradient, for a candidate's variables, is that of its own loss
        gradients = tape.gradient(total, [candidate.trainable_variables for candidate in candidates])
        for candidate, own in zip(candidates, gradients, strict=True):
            candidate.optimizer.apply(own, candidate.trainable_variables)
        return losses

    return tf.function(run, autograph=False)


def _rows_of(tables: Sequence[TaskTable], token_ids: Tensor) -> dict[str, Tensor]:
    """Return name -> [K * B, ...]: the tensors of each table for its B rows, which stand one table after the other."""
    tensors = [table.tensors() for table in tables]
    count = ops.shape(token_ids)[0] // len(tables)

    def rows(name: str) -> Tensor:
        # Reshaping a variable makes it a tensor, with a dense gradient.
        own = [ops.reshape(each[name], (1, *each[name].shape)) for each in tensors]
        return ops.cast(ops.repeat(ops.concatenate(own, axis=0), count, axis=0), tables[0].compute_dtype)

    return {name: rows(name) for name in tensors[0]}


def _losses(loss: TargetCrossEntropy, targets: Tensor, logits: Tensor, count: int) -> Tensor:
    """Return each candidate's mean loss over its target tokens, [K]."""
    tokens = ops.cast(ops.not_equal(targets, loss.pad_id), "float32")
    sums = [ops.sum(ops.reshape(each, (count, -1)), axis=1) for each in (loss.call(targets, logits), tokens)]
    return ops.divide_no_nan(*sums)


def _joined(*batches: Batch) -> Batch:
    """Put batches one after the other, each padded to the widest."""
    inputs, targets = zip(*batches, strict=True)
    return {name: _padded([each[name] for each in inputs]) for name in inputs[0]}, _padded(targets)


def _padded(parts: Sequence[tf.Tensor]) -> tf.Tensor:
    width = tf.reduce_max([tf.shape(part)[1] for part in parts])
    rest = [[0, 0]] * (len(parts[0].shape) - 2)
    return tf.concat([tf.pad(part, [[0, 0], [0, width - tf.shape(part)[1]], *rest]) for part in parts], axis=0)


def _mean_logs(logs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the means of what all of them report."""
    names = [name for name in logs[0] if all(name in each for each in logs)]
    return {name: statistics.fmean(each[name] for each in logs) for name in names}
