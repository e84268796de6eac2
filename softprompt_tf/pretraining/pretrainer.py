"""Batches in, a trained T5 out: the loop around the step, resumable at any moment.

A run directory holds `state.safetensors` (weights, optimizer, step; replaced in one move) and `log.jsonl`. A trainer that is
made again on the same directory goes on from the last state; the batches of the steps in between are made anew and are the
same, so a run that was stopped ends as one that was not.
"""

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import keras
import keras_hub
import numpy as np

from softprompt_tf.errors import TrainingError
from softprompt_tf.files.atomic_file import write_atomically
from softprompt_tf.files.local_paths import local_target
from softprompt_tf.keras_backend import is_tensorflow
from softprompt_tf.pretraining.batches import Batch
from softprompt_tf.pretraining.recent_losses import RecentLosses
from softprompt_tf.training.saved_run import Checkpoints, SavedRun

if TYPE_CHECKING:
    import tensorflow as tf

    from softprompt_tf.pretraining.bits_per_byte import MeasuredText

_FREE_TO_CHANGE = ("steps", "cooldown_steps", "checkpoint_every", "log_every", "measure_every")
_STEPS_IN_FLIGHT = 16  # steps that JAX may be behind; their losses are read late, so that the device never waits


class Batches(Protocol):
    """Where the batches of a range of steps come from: `PretrainingBatches` or `ParallelBatches`."""

    def prefetch(self, first_step: int, last_step: int) -> Iterator[tuple[int, str, Batch]]:
        """Yield `(step, objective, batch)`."""


@dataclass(frozen=True)
class PretrainingRun:
    """The settings of a run.

    Args:
      steps: optimizer steps in all.
      peak_learning_rate: relative to the RMS of each parameter.
      warmup_steps: linear warm-up.
      cooldown_steps: linear decay to zero at the end. A run may be prolonged before it begins.
      checkpoint_every, log_every, measure_every: steps.
      seed: the seed of the weights.
      precision: what activations are computed in, "float32" or "bfloat16"; the weights stay float32.
    """

    steps: int
    peak_learning_rate: float = 2e-2
    warmup_steps: int = 100
    cooldown_steps: int = 1000
    checkpoint_every: int = 200
    log_every: int = 20
    measure_every: int = 500
    seed: int = 1
    precision: str = "bfloat16"

    @property
    def fixed(self) -> dict[str, object]:
        """Return the settings that must stay as they are when a run goes on."""
        return {name: value for name, value in asdict(self).items() if name not in _FREE_TO_CHANGE}

    def rate_factor(self, step: int) -> float:
        """Return the factor of the peak rate at a step, in [0, 1]: the lower one of warm-up and cool-down.

        Args:
          step: counted from 0. Step 0 has 1 / warmup_steps, the last step has 1 / cooldown_steps.
        """
        warm_up = min(1.0, (step + 1) / max(1, self.warmup_steps))
        cool_down = min(1.0, (self.steps - step) / max(1, self.cooldown_steps))
        return min(warm_up, cool_down)


class Pretrainer:
    """The loop around one backbone.

    Args:
      backbone: a KerasHub `T5Backbone`; all of it is made trainable. Made under `strategy.scope()` if there is a strategy.
      run: the settings.
      directory: where the state and the log are kept.
      strategy: a `tf.distribute` strategy. Default: the one in use, which is one device where none was chosen. Under
        Keras's JAX backend there is none, and one device is used.
      on_checkpoint: called with this object after each state that is kept; the variables hold its weights.
    """

    def __init__(
        self,
        backbone: keras_hub.models.T5Backbone,
        run: PretrainingRun,
        directory: str | Path,
        *,
        strategy: "tf.distribute.Strategy | None" = None,
        on_checkpoint: "Callable[[Pretrainer], None] | None" = None,
    ):
        self.backbone = backbone
        self.run = run
        self.directory = local_target(directory, error_type=TrainingError)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.step = 0
        self.num_tokens = 0
        self._on_checkpoint = on_checkpoint
        strategy = strategy or _strategy_in_use()
        backbone.trainable = True
        with strategy.scope() if strategy else contextlib.nullcontext():
            # Adafactor with parameter scaling: a small T5 from nothing stalls at the unigram entropy under AdamW.
            self.optimizer = keras.optimizers.Adafactor(run.peak_learning_rate)
            self.optimizer.build(backbone.trainable_variables)
        self.take_step = _make_step(backbone, self.optimizer, run.precision, strategy)
        self._saved = SavedRun(
            Checkpoints(self.directory, name="state.safetensors"),
            lambda: {"trainable": backbone.weights, "optimizer": self.optimizer.variables},
            seed=run.seed,
            settings=run.fixed,
        )

    def measure(self, batches: list[Batch]) -> float:
        """Return the mean loss over batches, in nats per target token."""
        return float(np.mean([self.take_step.loss(batch) for batch in batches]))

    def fit(self, batches: Batches, held_out: dict[str, list[Batch]], text: "MeasuredText | None" = None) -> None:
        """Train from the current step to the last one, logging, measuring and keeping the state.

        It measures before the first step too, so that the log tells where the run began.

        Args:
          batches: the training batches.
          held_out: for each objective, the batches that its loss is measured on.
          text: whose bits per byte are measured as well; of this trainer's backbone.

        Raises:
          NonFiniteLossError: names the step, counted from 0; the state of before is kept.
        """
        recent = RecentLosses(0 if is_tensorflow() else _STEPS_IN_FLIGHT)
        if self.step == 0:
            self._log_measures(held_out, text)
        tokens_before, since = self.num_tokens, time.monotonic()
        for step, objective, batch in batches.prefetch(self.step, self.run.steps):
            rate = self.run.peak_learning_rate * self.run.rate_factor(step)
            recent.add(step, objective, rate, self.take_step(batch, rate))
            self.step = step + 1
            self.num_tokens += sum(int(np.count_nonzero(batch[key])) for key in ("encoder_token_ids", "targets"))
            if self.step % self.run.log_every == 0:
                losses = recent.means()
                seconds = time.monotonic() - since
                self._log(
                    num_tokens=self.num_tokens,
                    tokens_per_s=round((self.num_tokens - tokens_before) / seconds),
                    loss=losses,
                )
                tokens_before, since = self.num_tokens, time.monotonic()
            if self.step % self.run.measure_every == 0 or self.step == self.run.steps:
                recent.settle()
                self._log_measures(held_out, text)
            if self.step % self.run.checkpoint_every == 0 or self.step == self.run.steps:
                recent.settle()  # a state is kept of finite losses only
                self.save_state()

    def _log_measures(self, held_out: dict[str, list[Batch]], text: "MeasuredText | None") -> None:
        measures: dict[str, object] = {}
        if held_out:
            measures["held_out"] = {name: round(self.measure(rows), 4) for name, rows in held_out.items()}
        if text:
            measures["bits_per_byte"] = round(text.measure().bits_per_byte, 4)
        if measures:
            self._log(num_tokens=self.num_tokens, **measures)

    def _log(self, **values: object) -> None:
        line = json.dumps({"step": self.step, **values})
        print(line, flush=True)
        with self._log_file.open("a", encoding="utf-8") as log:
            log.write(line + "\n")

    # === State ===

    @property
    def _log_file(self) -> Path:
        return self.directory / "log.jsonl"

    def save_state(self) -> None:
        """Write weights, optimizer and step to one file, which replaces the last one in one move.

        Raises:
          TrainingError: if it cannot be written; the last one is kept.
        """
        self.take_step.write_back()
        if self._saved.save(self.step, counts={"num_tokens": self.num_tokens}) and self._on_checkpoint:
            self._on_checkpoint(self)

    def load_state(self) -> bool:
        """Go back to the last state, if there is one; return whether there was. Later lines of the log are dropped.

        Raises:
          TrainingError: if the file is damaged, of a run of other settings or of a backbone of another shape.
        """
        checkpoint = self._saved.resume()
        if checkpoint is None:
            self._log_file.unlink(missing_ok=True)  # of a run that was killed before its first state
            return False
        self.step, self.num_tokens = checkpoint.step, checkpoint.counts["num_tokens"]
        self.take_step.read_variables()
        if self._log_file.is_file():
            kept = [line for line in self._log_file.read_text("utf-8").splitlines() if _step_of(line) <= self.step]
            content = "".join(f"{line}\n" for line in kept).encode("utf-8")
            write_atomically(self._log_file, content, error_type=TrainingError)
        return True


def _strategy_in_use() -> "tf.distribute.Strategy | None":
    if not is_tensorflow():
        return None
    import tensorflow as tf

    return tf.distribute.get_strategy()


def _make_step(
    backbone: keras_hub.models.T5Backbone,
    optimizer: keras.optimizers.Optimizer,
    precision: str,
    strategy: "tf.distribute.Strategy | None",
) -> Any:
    if strategy is None:
        from softprompt_tf.pretraining.jax_train_step import JaxTrainStep

        return JaxTrainStep(backbone, optimizer, precision=precision)
    from softprompt_tf.pretraining.train_step import TrainStep

    return TrainStep(backbone, optimizer, precision=precision, strategy=strategy)


def _step_of(line: str) -> float:
    """Return the step of a line of the log; infinity for a line that was cut off by a kill."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
