"""Model tuning, what a prompt is measured against: a run's config enters, all weights of its backbone are trained on
the task's rows, metrics.json leaves. The weights that do best on the validation rows answer the test rows.

Adam with a linear warm-up and a constant rate behind it, gradients clipped to norm 1, no dropout. A run that was killed
goes on from its last evaluation and ends as one that was not.
"""

import json
import math
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import safetensors
import safetensors.numpy
import tensorflow as tf
from backbones_report import write_json
from pydantic import BaseModel, ConfigDict, Field

from softprompt_tf.answering import answerer_without_prompt
from softprompt_tf.atomic_file import write_atomically
from softprompt_tf.config import RunConfig
from softprompt_tf.errors import NonFiniteLossError, TrainingError
from softprompt_tf.evaluation import evaluate_examples
from softprompt_tf.t5 import EOS_ID, FrozenT5, load_t5
from softprompt_tf.t5.fused_forward import FusedForward
from softprompt_tf.tasks import BatchStream, Example, Task, load_task, score, tokenize_examples
from softprompt_tf.text_batches import opening_id_of
from softprompt_tf.training import Evaluation, TargetCrossEntropy

_IDS = tf.TensorSpec([None, None], tf.int32)
_INPUTS = ("encoder_token_ids", "encoder_padding_mask", "decoder_token_ids", "decoder_padding_mask")


class TuningSettings(BaseModel):
    """How the whole model is trained; the rest is the run's config.

    Args:
      steps: batches.
      batch_size: rows per step.
      learning_rate: Adam's, behind the warm-up.
      warmup_steps: over which the rate rises linearly.
      evaluate_every: steps between two looks at the validation rows, each of which also saves the state.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    steps: int = Field(default=1_000, gt=0)
    batch_size: int = Field(default=32, gt=0)
    learning_rate: float = Field(default=5e-4, gt=0)
    warmup_steps: int = Field(default=100, ge=0)
    evaluate_every: int = Field(default=100, gt=0)

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0; step 0 has 1 / warmup_steps of the full one."""
        return self.learning_rate * min(1.0, (step + 1) / max(1, self.warmup_steps))


def tune_model(config: RunConfig, settings: TuningSettings) -> dict[str, Any]:
    """Train all weights of `config.backbone` on the task, and write `config.output_dir`/metrics.json.

    Args:
      config: of one task; its backbone, task, seed, precision and z-loss are used.
      settings: how long and how fast.

    Returns:
      What the file holds: as `softprompt_tf.run.train_run` writes it, and the metrics of the test split under "test"
      where the task has one.

    Raises:
      SoftPromptError: for a mistake in the config, its data or its backbone, or a loss that is not finite.
    """
    directory = Path(config.output_dir)
    task = load_task(config.tasks[0])
    t5 = load_t5(config.backbone)  # float32 whatever the precision, which is that of activations alone
    t5.backbone.trainable = True
    target_limit = task.target_token_limit(t5.tokenize)
    answerer = answerer_without_prompt(
        t5,
        max_input_tokens=task.max_input_tokens,
        max_target_tokens=target_limit,
        target_format=task.target_format,
    )

    def metrics_of(examples: list[Example]) -> dict[str, float]:
        return evaluate_examples(answerer, task, examples).metrics

    validation = task.examples("validation")
    tuner = _Tuner(t5, config, settings)
    tuner.load(directory / "state.safetensors")
    batches = _batches(task, t5, target_limit, settings.batch_size, config.seed)
    while tuner.step < settings.steps:
        tuner.advance(batches)
        tuner.keep(metrics_of(validation))
        tuner.save(directory / "state.safetensors")
    tuner.restore_best()
    metrics = tuner.report(task.name)
    if task.test is not None:
        metrics["test"] = {task.name: metrics_of(task.examples("test"))}
    write_json(directory / "metrics.json", metrics)
    (directory / "state.safetensors").unlink(missing_ok=True)
    return metrics


def _batches(task: Task, t5: FrozenT5, target_limit: int, batch_size: int, seed: int) -> BatchStream:
    examples = tokenize_examples(
        task.examples("train"),
        t5.tokenize,
        max_input_tokens=task.max_input_tokens,
        max_target_tokens=target_limit,
        eos_id=EOS_ID,
        opening_id=opening_id_of(t5, task.target_format),
    )
    return BatchStream(examples, batch_size=batch_size, seed=seed)


@dataclass
class _Progress:
    """What a state file says beside its tensors."""

    step: int = 0
    best_step: int | None = None
    history: tuple[Evaluation, ...] = ()
    seconds_per_step: float = 0.0

    @property
    def best(self) -> Evaluation | None:
        return next((each for each in self.history if each.step == self.best_step), None)


class _Tuner:
    """The backbone, its optimizer, and the best weights so far."""

    def __init__(self, t5: FrozenT5, config: RunConfig, settings: TuningSettings):
        self._settings = settings
        self._variables = t5.backbone.trainable_variables
        self._forward = FusedForward(t5.backbone, dtype=config.training.precision)
        self._loss = TargetCrossEntropy(z_loss=config.training.z_loss)
        self._optimizer = keras.optimizers.Adam(settings.learning_rate, global_clipnorm=1.0)
        self._optimizer.build(self._variables)
        signature = (dict.fromkeys(_INPUTS, _IDS), _IDS, tf.TensorSpec([], tf.float32))
        self._train_step = tf.function(self._take_step, input_signature=signature)
        self._best: list[np.ndarray] = []
        self._progress = _Progress()

    @property
    def step(self) -> int:
        """Steps done."""
        return self._progress.step

    def advance(self, batches: BatchStream) -> None:
        """Train up to the next evaluation."""
        every = self._settings.evaluate_every
        last = min(self._settings.steps, (self.step // every + 1) * every)
        times = []
        for step in range(self.step, last):
            start = time.perf_counter()
            inputs, targets = batches.batch(step)
            loss = float(self._train_step(inputs, targets, self._settings.rate(step)))
            times.append(time.perf_counter() - start)
            if not math.isfinite(loss):
                raise NonFiniteLossError(f"The loss must be finite. Received: {loss} at step {step + 1}.")
        self._progress.step = last
        self._progress.seconds_per_step = statistics.median(times)

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

    def keep(self, metrics: dict[str, float]) -> None:
        """Note an evaluation, and the weights if it is the best; of equal ones the earlier stays."""
        evaluation, best = Evaluation(self.step, score(metrics), metrics), self._progress.best
        self._progress.history += (evaluation,)
        if best is None or evaluation.score > best.score:
            self._progress.best_step = self.step
            self._best = _arrays(self._variables)

    def restore_best(self) -> None:
        """Put the best weights back into the backbone."""
        for variable, value in zip(self._variables, self._best, strict=True):
            variable.assign(value)

    def report(self, task: str) -> dict[str, Any]:
        """Return the run as metrics.json tells it."""
        best = self._progress.best
        return {
            "validation": {task: best.metrics if best else {}},
            "score": best.score if best else math.nan,
            "best_step": self._progress.best_step,
            "steps_done": self.step,
            "seconds_per_step": self._progress.seconds_per_step,
            "history": [asdict(evaluation) for evaluation in self._progress.history],
        }

    # === State ===

    def save(self, path: Path) -> None:
        """Write weights, moments, best weights and progress to one file, which replaces the last one in one move."""
        groups = {
            "weights": _arrays(self._variables),
            "optimizer": _arrays(self._optimizer.variables),
            "best": self._best,
        }
        tensors = {f"{name}/{k}": array for name, arrays in groups.items() for k, array in enumerate(arrays)}
        content = safetensors.numpy.save(tensors, metadata={"progress": json.dumps(asdict(self._progress))})
        write_atomically(path, content, error_type=TrainingError)

    def load(self, path: Path) -> None:
        """Go back to the state in a file, if there is one.

        Raises:
          TrainingError: if it is damaged or of another backbone.
        """
        if not path.is_file():
            return
        try:
            with safetensors.safe_open(path, "np") as state:
                for name, variables in (("weights", self._variables), ("optimizer", self._optimizer.variables)):
                    for k, variable in enumerate(variables):
                        variable.assign(state.get_tensor(f"{name}/{k}").reshape(variable.shape))
                self._best = [state.get_tensor(f"best/{k}") for k in range(len(self._variables))]
                progress = json.loads(state.metadata()["progress"])
        except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
            raise TrainingError(
                f"A state must be whole and of the same backbone. Received: {path} ({error}). Remove it to start anew."
            ) from error
        history = tuple(Evaluation(**evaluation) for evaluation in progress.pop("history"))
        self._progress = _Progress(**progress, history=history)


def _arrays(variables: list[keras.Variable]) -> list[np.ndarray]:
    return [np.array(keras.ops.convert_to_numpy(variable), order="C") for variable in variables]
