"""Model tuning: train all weights of a copy of the T5 on one task or several.

Adam with a linear warm-up and a constant rate behind it, gradients clipped to norm 1, no dropout. The weights that do best
on the dev rows are kept. A run that was killed goes on from its last evaluation and ends as one that was not.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from softprompt_tf.backbones import EOS_ID, FrozenT5
from softprompt_tf.backbones.loading.built_layers import backbone_like
from softprompt_tf.backbones.passes.fused_forward import FusedForward
from softprompt_tf.backbones.passes.known_layers import check_plain
from softprompt_tf.baselines.no_markers import check_has_no_markers
from softprompt_tf.baselines.tuning_settings import TuningSettings as TuningSettings
from softprompt_tf.errors import BackboneError, TrainingError
from softprompt_tf.evaluation.evaluation import evaluate_examples
from softprompt_tf.files.directory_lock import locked
from softprompt_tf.inference.answering import Answerer, answerer_without_prompt
from softprompt_tf.runs.configured import check_task_labels, shared_target_format
from softprompt_tf.runs.dev_scores import named_metrics
from softprompt_tf.runs.task_data import TaskData
from softprompt_tf.tasks import BatchStream, Task, TokenizedExamples, tokenize_examples
from softprompt_tf.tasks.data_digest import examples_digest
from softprompt_tf.texts.text_batches import opening_id_of
from softprompt_tf.training import Evaluation, KeepBestPrompt, PromptCheckpoint, TargetCrossEntropy, progress
from softprompt_tf.training.callbacks import steps_done
from softprompt_tf.training.fit import TrainingResult, train


@dataclass(frozen=True)
class TunedModel:
    """How a run of model tuning went.

    Args:
      metrics: task -> metrics on its dev rows, at the best step.
      best_score: their mean, over the metrics of each task and then over the tasks, in [0, 1].
      best_step: its step; the tuner's weights are those of it.
      steps_done: batches taken.
      history: every evaluation, oldest first; metrics under "metric", or "task/metric" where there are several tasks.
      seconds_per_step: median over this process's steps, 0 where it took none.
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
        self._model = _WholeModel(backbone, precision=precision, z_loss=z_loss)
        self._model.compile(keras.optimizers.Adam(1.0, global_clipnorm=1.0))  # each step sets its own rate
        self._model.optimizer.build(backbone.trainable_variables)
        self._answerers: dict[tuple[int, int, str], Answerer] = {}

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
          ConfigError: if the tasks differ in their target format, two labels of a task are the same to the model, or a template
            has markers.
          TrainingError: if the state is damaged or of a run of other settings, rows or weights, or another process is using its
            directory.
          NonFiniteLossError: if the loss is not finite; names the step, counted from 1.
          KeyboardInterrupt: as it came, after the state was saved.
        """
        for each in data:
            check_task_labels(each.task, self.t5)
            check_has_no_markers(each.task, "Model tuning")
        with contextlib.ExitStack() as stack:
            if state_path is not None:
                stack.enter_context(locked(state_path.parent, error_type=TrainingError))
            result = self._train(data, settings, seed, state_path, run_digest)
        return _tuned([each.task.name for each in data], result)

    def _train(
        self, data: Sequence[TaskData], settings: TuningSettings, seed: int, state_path: Path | None, run_digest: str
    ) -> TrainingResult:
        self._reset()
        keep_best = KeepBestPrompt(
            lambda: self._dev_metrics(data), every_steps=settings.evaluate_every, last_step=settings.steps
        )
        state = PromptCheckpoint(
            state_path and state_path.parent,
            name=state_path.name if state_path else "",
            every_steps=settings.evaluate_every,
            seed=seed,
            config_digest=run_digest,
            settings=self._identity(data, settings, seed) if state_path else None,
            keep_best=keep_best,
        )
        optimizer = self._model.optimizer
        set_rate = keras.callbacks.LambdaCallback(
            on_train_batch_begin=lambda batch, logs=None: optimizer.learning_rate.assign(
                settings.rate(steps_done(self._model))
            )
        )
        batches = _batches(self.t5, data, settings.batch_size, seed)
        report = progress(last_step=settings.steps)
        steps = settings.steps
        return train(self._model, batches, keep_best, state, steps=steps, reports=[report], callbacks=[set_rate])

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
        for variable in self._model.optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))

    def _dev_metrics(self, data: Sequence[TaskData]) -> dict[str, float]:
        scored = {
            each.task.name: evaluate_examples(self.answerer(each.task), each.task, each.validation) for each in data
        }
        return named_metrics({task: scores.metrics for task, scores in scored.items()})


def _tuned(tasks: Sequence[str], result: TrainingResult) -> TunedModel:
    chosen = result.chosen
    prefixes = {task: f"{task}/" if len(tasks) > 1 else "" for task in tasks}
    return TunedModel(
        metrics={
            task: {k.removeprefix(start): value for k, value in chosen.metrics.items() if k.startswith(start)}
            for task, start in prefixes.items()
        },
        best_score=chosen.score,
        best_step=chosen.step,
        steps_done=result.steps_done,
        history=result.history,
        seconds_per_step=result.seconds_per_step,
        seconds=result.seconds,
    )


class _WholeModel(keras.Model):
    """All weights of a T5 as a Keras model: a step trains them on the fused forward pass."""

    def __init__(self, backbone: keras.Model, *, precision: str, z_loss: float):
        super().__init__()
        self.backbone = backbone
        self._forward = FusedForward(backbone, dtype=precision)
        self._target_loss = TargetCrossEntropy(z_loss=z_loss)
        self.built = True

    def train_step(self, data: tuple[dict[str, tf.Tensor], tf.Tensor]) -> dict[str, tf.Tensor]:
        inputs, targets = data
        variables = self.backbone.trainable_variables
        with tf.GradientTape() as tape:
            mask = inputs["encoder_padding_mask"]
            encoded = self._forward.encode(inputs["encoder_token_ids"], mask)
            logits = self._forward.logits(self._forward.decode(inputs["decoder_token_ids"], encoded, mask))
            loss = self._target_loss(targets, tf.reshape(logits, [*tf.unstack(tf.shape(targets)), logits.shape[-1]]))
        # Dense, so that the embedding table is clipped and moved as every other weight is.
        gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, variables)]
        self.optimizer.apply(gradients, variables)
        return {"loss": loss}


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
