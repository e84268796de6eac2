"""Train several prompts on one frozen T5 in the same steps; each ends as it would alone.

A step has a batch of every prompt: its rows see its own values, and its loss is the mean over its own target tokens. The
frozen layers run once on the rows of all. Each prompt has its optimizer, order of rows, best step and checkpoints, as
alone, so it may begin together and go on alone, or the other way round.
"""

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import tensorflow as tf
from keras import ops

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.errors import TrainingError
from softprompt_tf.methods import TaskTable
from softprompt_tf.model.prompted_inputs import tuned_logits
from softprompt_tf.tasks import mapped
from softprompt_tf.training.callbacks import Logs, steps_done
from softprompt_tf.training.fit import TrainingResult
from softprompt_tf.training.losses import TargetCrossEntropy
from softprompt_tf.training.progress import progress
from softprompt_tf.training.saved_run import saved_on_interrupt
from softprompt_tf.training.together_entry import Candidate, Entry
from softprompt_tf.workers import joined, own_part

Tensor = Any
Batch = tuple[dict[str, tf.Tensor], tf.Tensor]
Step = Callable[[Iterator[Batch]], tf.Tensor]


class Report(Protocol):
    """What shows the progress: those of `training.progress` are such."""

    def set_model(self, model: Any) -> None: ...

    def on_train_begin(self, logs: Logs = None) -> None: ...

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None: ...

    def close(self) -> None: ...


def train_together(
    t5: FrozenT5,
    entries: Sequence[Entry],
    loss: TargetCrossEntropy,
    *,
    recompute: bool = False,
    report: Report | None = None,
    is_late: Callable[[], bool] = lambda: False,
    traced: dict[tuple[int, ...], Step] | None = None,
) -> list[TrainingResult]:
    """Train several prompts whose tensors have the same names and shapes, each as `train_prompt` would.

    They need not stand at the same step, and one that ends early, or whose loss is no number any more, leaves the others.

    Args:
      t5: the frozen T5, without dropout.
      entries: the prompts; what their tables fold to has the same names and shapes.
      loss: of all of them.
      recompute: whether each layer runs again for its gradient; see gradient checkpointing.
      report: shows the progress. Default: as for one prompt.
      is_late: is asked after each step whether all of them stop there.
      traced: graphs of earlier calls, by their candidates, to which those of this call are added. Default: none are kept.

    Returns:
      A result for each entry. Its candidate holds the best values; `error` of an entry says why it ended early.

    Raises:
      BackboneError: if a weight of the T5 was made trainable, or changed.
      TrainingError: with several workers.
      KeyboardInterrupt: as it came, after the checkpoints were saved.
    """
    t5.check_frozen()
    if joined() is not None:
        raise TrainingError(f"Several prompts at once train in one process. Received: {own_part()[1]} workers.")
    traced = {} if traced is None else traced
    for entry in entries:
        entry.begin()
    while active := [entry for entry in entries if not entry.is_done]:
        candidates = [entry.candidate for entry in active]
        key = tuple(map(id, candidates))
        step = traced.setdefault(key, _step(candidates, t5, loss, recompute))
        with contextlib.ExitStack() as stack:
            for entry in active:
                stack.enter_context(saved_on_interrupt(entry.save))
            _train_until_one_ends(active, step, report, is_late)
    return [entry.result() for entry in entries]


def _train_until_one_ends(
    active: Sequence[Entry], step: Step, report: Report | None, is_late: Callable[[], bool]
) -> None:
    """Take steps of all, until one of them takes no more or it is late."""
    datasets = [entry.batches.dataset(first_step=steps_done(entry.candidate)) for entry in active]
    batches = iter(mapped(tf.data.Dataset.zip(tuple(datasets)), _joined).prefetch(2))
    report = progress(last_step=max(entry.steps for entry in active)) if report is None else report
    report.set_model(active[0].candidate)
    report.on_train_begin()
    with contextlib.closing(report):
        while not any(entry.is_done for entry in active):
            started = time.perf_counter()
            losses = step(batches).numpy()
            seconds = (time.perf_counter() - started) / len(active)
            logs = [entry.after_step(float(value), seconds) for entry, value in zip(active, losses, strict=True)]
            report.on_train_batch_end(0, _mean_logs(logs))
            if is_late():
                for entry in active:
                    entry.stop()


def _step(candidates: Sequence[Candidate], t5: FrozenT5, loss: TargetCrossEntropy, recompute: bool) -> Step:
    """Return the graph that takes a step of every candidate and returns the losses [K]."""
    tables = [candidate.prompt_table for candidate in candidates]

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
    if parts[0].shape[1] is not None and len({part.shape[1] for part in parts}) == 1:
        return tf.concat(parts, axis=0)  # so that the width stays known
    width = tf.reduce_max([tf.shape(part)[1] for part in parts])
    rest = [[0, 0]] * (len(parts[0].shape) - 2)
    return tf.concat([tf.pad(part, [[0, 0], [0, width - tf.shape(part)[1]], *rest]) for part in parts], axis=0)


def _mean_logs(logs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the means of what all of them report."""
    names = [name for name in logs[0] if all(name in each for each in logs)]
    return {name: statistics.fmean(each[name] for each in logs) for name in names}
