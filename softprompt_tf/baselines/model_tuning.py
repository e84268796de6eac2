"""Model tuning: a frozen T5 and the rows of one task or of several enter, a copy of it with all weights trained leaves.

Adam with a linear warm-up and a constant rate behind it, gradients clipped to norm 1, no dropout. The weights that do best
on the validation rows are kept. A run that was killed goes on from its last evaluation and ends as one that was not.
"""

import contextlib
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from softprompt_tf.backbones import EOS_ID, FrozenT5
from softprompt_tf.backbones.loading.built_layers import backbone_like
from softprompt_tf.backbones.passes.fused_forward import FusedForward
from softprompt_tf.backbones.passes.known_layers import check_plain
from softprompt_tf.baselines.tuning_settings import TuningSettings as TuningSettings
from softprompt_tf.errors import BackboneError, NonFiniteLossError, TrainingError
from softprompt_tf.evaluation.evaluation import evaluate_examples
from softprompt_tf.files.directory_lock import locked
from softprompt_tf.inference.answering import Answerer, answerer_without_prompt
from softprompt_tf.runs.run import TaskData, check_task_labels, shared_target_format
from softprompt_tf.tasks import BatchStream, Task, TokenizedExamples, tokenize_examples
from softprompt_tf.tasks.data_digest import examples_digest
from softprompt_tf.texts.text_batches import opening_id_of
from softprompt_tf.training import BestSoFar, Evaluation, TargetCrossEntropy
from softprompt_tf.training.progress import tell_finished
from softprompt_tf.training.saved_run import Checkpoints, SavedRun

_IDS = tf.TensorSpec([None, None], tf.int32)
_INPUTS = ("encoder_token_ids", "encoder_padding_mask", "decoder_token_ids", "decoder_padding_mask")


@dataclass(frozen=True)
class TunedModel:
    """How a run of model tuning went.

    Args:
      metrics: task -> metrics on its validation rows, at the best step.
      best_score: their mean, over the metrics of each task and then over the tasks, in [0, 1].
      best_step: its step; the tuner's weights are those of it.
      steps_done: batches taken.
      history: every evaluation, oldest first; metrics under "metric", or "task/metric" where there are several tasks.
      seconds_per_step: median over the steps since the last evaluation, 0 where this process took none.
      seconds: of training and evaluating, those before a restart included.
    """

    metrics: dict[str, dict[str, float]]
    best_score: float
    best_step: int
    steps_done: int
    history: tuple[Evaluation, ...]
    seconds_per_step: float
    seconds: float


class ModelTuner:
    """Trains copies of one T5, run after run, with one traced step.

    Args:
      t5: a float32 T5. It stays as it is: the tuner holds a copy of its weights.
      precision: of activations and matrix products, "float32" or "bfloat16".
      z_loss: weight of log(Z)^2 in the loss.

    Raises:
      BackboneError: if the T5 is not in float32.

    Example:
      >>> tuner = ModelTuner(load_t5("mini"))
      >>> tuned = tuner.tune([TaskData(task, task.examples("train"), task.examples("validation"))], TuningSettings(), seed=1)
      >>> evaluate_examples(tuner.answerer(task), task, task.examples("test"))
    """

    def __init__(self, t5: FrozenT5, *, precision: str = "float32", z_loss: float = 1e-4):
        if t5.backbone.dtype_policy.name != "float32":
            raise BackboneError(
                f"Model tuning trains float32 weights. Received: a T5 of dtype {t5.backbone.dtype_policy.name}. "
                "Load it with dtype='float32'; `precision` is that of the activations."
            )
        check_plain(t5.backbone, doing="Model tuning")
        self._start = t5
        backbone = backbone_like(t5.backbone)
        self.t5 = FrozenT5(backbone, t5.tokenizer, name=f"{t5.name}, tuned")
        backbone.trainable = True
        self._variables = backbone.trainable_variables
        self._forward = FusedForward(backbone, dtype=precision)
        self._loss = TargetCrossEntropy(z_loss=z_loss)
        self._optimizer = keras.optimizers.Adam(1.0, global_clipnorm=1.0)  # each step sets its own rate
        self._optimizer.build(self._variables)
        signature = (dict.fromkeys(_INPUTS, _IDS), _IDS, tf.TensorSpec([], tf.float32))
        self._train_step = tf.function(self._take_step, input_signature=signature, autograph=False)
        self._answerers: dict[tuple[int, int, str], Answerer] = {}
        self._best = BestSoFar()
        self._reset()

    def tune(
        self,
        data: Sequence[TaskData],
        settings: TuningSettings,
        *,
        seed: int,
        state_path: Path | None = None,
        run_digest: str = "",
    ) -> TunedModel:
        """Train from the T5's own weights, or go on from a state; the best weights are in the tuner afterwards.

        Args:
          data: one task, or several whose rows are mixed: a batch is drawn from all rows, so that a task counts by its rows.
          settings: how long and how fast.
          seed: of the order of the rows.
          state_path: where the state is kept, for a restart. It stays there after the last step.
          run_digest: the run's settings in short; a state of others is refused.

        Raises:
          ConfigError: if the tasks differ in their target format, or two labels of a task are the same to the model.
          TrainingError: if the state is damaged or of a run of other settings, rows or weights, or another process is using its
            directory.
          NonFiniteLossError: if the loss is not finite.
        """
        for each in data:
            check_task_labels(each.task, self.t5)
        lock = contextlib.nullcontext() if state_path is None else locked(state_path.parent, error_type=TrainingError)
        with lock:
            return self._tune(data, settings, seed, state_path, run_digest)

    def _tune(
        self, data: Sequence[TaskData], settings: TuningSettings, seed: int, state_path: Path | None, run_digest: str
    ) -> TunedModel:
        self._reset()
        saved = None
        if state_path is not None:
            saved = SavedRun(
                Checkpoints(state_path.parent, name=state_path.name),
                lambda: {"trainable": self._variables, "optimizer": self._optimizer.variables},
                seed=seed,
                config_digest=run_digest,
                settings=self._identity(data, settings, seed),
            )
            self._resume(saved, settings.steps)
        batches = _batches(self.t5, data, settings.batch_size, seed)
        while self._step < settings.steps:
            started = time.monotonic()
            self._advance(batches, settings)
            self._best = self._best.after(self._step, self._dev_metrics(data), self._variables)
            self._seconds += time.monotonic() - started
            if saved is not None:
                saved.save(self._step, best=self._best, counts=self._counts())
        self._best.restore(self._variables)
        return self._result([each.task.name for each in data])

    def _identity(self, data: Sequence[TaskData], settings: TuningSettings, seed: int) -> dict[str, object]:
        """Return what decides a run's outcome; how long it runs and how often it is scored may change."""
        rows = {
            f"{each.task.name}/{split}": examples_digest(getattr(each, split))
            for each in data
            for split in ("train", "validation")
        }
        free = {"steps", "evaluate_every"}
        return {
            "settings": settings.model_dump(mode="json", exclude=free),
            "seed": seed,
            "backbone": self._start.fingerprint,
            "data": rows,
        }

    def answerer(self, task: Task) -> Answerer:
        """Return what the weights answer as they are now, with the limits of a task."""
        key = (task.max_input_tokens, task.target_token_limit(self.t5.tokenize), task.target_format)
        if key not in self._answerers:
            self._answerers[key] = answerer_without_prompt(
                self.t5, max_input_tokens=key[0], max_target_tokens=key[1], target_format=key[2]
            )
        return self._answerers[key]

    # === One run ===

    def _reset(self) -> None:
        for variable, start in zip(self.t5.backbone.weights, self._start.backbone.weights, strict=True):
            variable.assign(start)
        for variable in self._optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))
        self._step, self._seconds, self._seconds_per_step = 0, 0.0, 0.0
        self._best = BestSoFar()

    def _resume(self, saved: SavedRun, last_step: int) -> None:
        checkpoint = saved.resume()
        if checkpoint is None:
            return
        self._step, self._best = checkpoint.step, checkpoint.best
        self._seconds, self._seconds_per_step = (checkpoint.counts[name] for name in ("seconds", "seconds_per_step"))
        if self._step >= last_step:
            tell_finished(self._step, last_step)

    def _counts(self) -> dict[str, float]:
        return {"seconds": self._seconds, "seconds_per_step": self._seconds_per_step}

    def _advance(self, batches: BatchStream, settings: TuningSettings) -> None:
        """Train up to the next evaluation."""
        first, every = self._step, settings.evaluate_every
        last = min(settings.steps, (first // every + 1) * every)
        times = []
        for step in range(first, last):
            start = time.perf_counter()
            inputs, targets = batches.batch(step)
            loss = float(self._train_step(inputs, targets, settings.rate(step)))
            times.append(time.perf_counter() - start)
            if not math.isfinite(loss):
                raise NonFiniteLossError(f"The loss must be finite. Received: {loss} at step {step + 1}.")
        self._step = last
        self._seconds_per_step = statistics.median(times)

    def _take_step(self, inputs: dict[str, tf.Tensor], targets: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            mask = inputs["encoder_padding_mask"]
            encoded = self._forward.encode(inputs["encoder_token_ids"], mask)
            logits = self._forward.logits(self._forward.decode(inputs["decoder_token_ids"], encoded, mask))
            loss = self._loss(targets, tf.reshape(logits, [*tf.unstack(tf.shape(targets)), logits.shape[-1]]))
        # Dense, so that the embedding table is clipped and moved as every other weight is.
        gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, self._variables)]
        self._optimizer.learning_rate.assign(rate)
        self._optimizer.apply(gradients, self._variables)
        return loss

    def _dev_metrics(self, data: Sequence[TaskData]) -> dict[str, float]:
        """Return the metrics on the validation rows, under "metric", or "task/metric" where there are several tasks."""
        named: dict[str, float] = {}
        for each in data:
            metrics = evaluate_examples(self.answerer(each.task), each.task, each.validation).metrics
            prefix = f"{each.task.name}/" if len(data) > 1 else ""
            named |= {f"{prefix}{name}": value for name, value in metrics.items()}
        return named

    def _result(self, tasks: Sequence[str]) -> TunedModel:
        history = self._best.history
        # Where no score was a number, the weights are those of the last step.
        chosen = next((each for each in history if each.step == self._best.step), history[-1])
        prefixes = {task: f"{task}/" if len(tasks) > 1 else "" for task in tasks}
        return TunedModel(
            metrics={
                task: {k.removeprefix(start): value for k, value in chosen.metrics.items() if k.startswith(start)}
                for task, start in prefixes.items()
            },
            best_score=chosen.score,
            best_step=chosen.step,
            steps_done=self._step,
            history=history,
            seconds_per_step=self._seconds_per_step,
            seconds=self._seconds,
        )


def _batches(t5: FrozenT5, data: Sequence[TaskData], batch_size: int, seed: int) -> BatchStream:
    opening_id = opening_id_of(t5, shared_target_format([each.task for each in data]))
    parts = [
        tokenize_examples(
            each.train,
            t5.tokenize,
            max_input_tokens=each.task.max_input_tokens,
            max_target_tokens=each.task.target_token_limit(t5.tokenize),
            eos_id=EOS_ID,
            opening_id=opening_id,
        )
        for each in data
    ]
    return BatchStream(TokenizedExamples.concatenate(parts), batch_size=batch_size, seed=seed)
