"""The training loop of pretraining, resumable at any moment.

A run directory holds `state.safetensors` (a checkpoint, replaced in one move) and `log.jsonl`. A trainer that is made again on
the same directory goes on from it, and a run that was stopped ends as one that was not. The loop is not `model.fit`: it also
runs under JAX, where losses are read late, and its batches are of several objectives.
"""

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import keras
import keras_hub
import numpy as np

from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.files.local_paths import local_target
from softprompt_tf.keras_backend import is_tensorflow
from softprompt_tf.pretraining.batches import Batch
from softprompt_tf.pretraining.ranges import check_least
from softprompt_tf.pretraining.recent_losses import RecentLosses
from softprompt_tf.pretraining.run_log import RunLog
from softprompt_tf.progress import Progress
from softprompt_tf.training.saved_run import Checkpoints, SavedRun, saved_on_interrupt

if TYPE_CHECKING:
    import tensorflow as tf

    from softprompt_tf.pretraining.bits_per_byte import MeasuredText

STATE = "state.safetensors"
_FREE_TO_CHANGE = ("steps", "cooldown_steps", "checkpoint_every", "log_every", "measure_every")
# Steps that JAX may be behind; their losses are read late, so that the device never waits.
_STEPS_IN_FLIGHT = 0 if is_tensorflow() else 16


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

    Raises:
      ConfigError: if a number is out of range.
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

    def __post_init__(self) -> None:
        check_least(0, steps=self.steps, warmup_steps=self.warmup_steps, cooldown_steps=self.cooldown_steps)
        check_least(
            1, checkpoint_every=self.checkpoint_every, log_every=self.log_every, measure_every=self.measure_every
        )
        if not 0 < self.peak_learning_rate < math.inf:
            raise ConfigError(f"The learning rate must be a number above 0. Received: {self.peak_learning_rate}.")
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"`seed` must be a whole number from 0 up to 2^32. Received: {self.seed}.")

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
        self._recent = RecentLosses(_STEPS_IN_FLIGHT)
        self._measured_step = -1
        self._timed_from = (0, time.monotonic())  # tokens and time at the last line of losses
        self._on_checkpoint = on_checkpoint
        self._log = RunLog(self.directory / "log.jsonl")
        self._progress: Progress
        strategy = strategy or _strategy_in_use()
        backbone.trainable = True
        with strategy.scope() if strategy else contextlib.nullcontext():
            # Adafactor with parameter scaling: a small T5 from nothing stalls at the unigram entropy under AdamW.
            self.optimizer = keras.optimizers.Adafactor(run.peak_learning_rate)
            self.optimizer.build(backbone.trainable_variables)
        self.take_step = _make_step(backbone, self.optimizer, run.precision, strategy)
        self._saved = SavedRun(
            Checkpoints(self.directory, name=STATE),
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
          KeyboardInterrupt: as it came, after the state was saved; under JAX the last state is gone back to.
        """
        measure = functools.partial(self._log_measures, held_out, text)

        def due(step: int) -> list[Callable[[], None]]:
            run, is_last = self.run, step == self.run.steps  # read at each step: a planner may change them
            acts = [self._log_losses] if step % run.log_every == 0 else []
            acts += [measure] if is_last or step % run.measure_every == 0 else []
            return acts + ([self.save_state] if is_last or step % run.checkpoint_every == 0 else [])

        self._timed_from = (self.num_tokens, time.monotonic())
        # No lines where no bar can be shown: the run's log is printed in any case.
        with Progress(self.run.steps, unit="step", first=self.step, line_every_s=None) as self._progress:
            owed = due(self.step) if self.step else [measure]  # all made before, unless an interrupt came first
            if self._log_losses in owed and self._recent.known:
                self._log_losses()
            if measure in owed and self._measured_step != self.step:
                measure()
            with saved_on_interrupt(self._save_interrupted):
                for drawn in batches.prefetch(self.step, self.run.steps):
                    self._take(drawn)
                    self._progress.advance()
                    acts = due(self.step)
                    if acts:
                        self._recent.settle()  # nothing is done with weights of a loss that is no number
                    for act in acts:
                        act()

    def _take(self, drawn: tuple[int, str, Batch]) -> None:
        step, objective, batch = drawn
        rate = self.run.peak_learning_rate * self.run.rate_factor(step)
        # Before the step: most interrupts come while it is taken, and are seen right behind it.
        self.num_tokens += sum(int(np.count_nonzero(batch[key])) for key in ("encoder_token_ids", "targets"))
        self._recent.add(step, objective, rate, self.take_step(batch, rate))
        self.step = step + 1

    def _log_losses(self) -> None:
        losses, (tokens, since) = self._recent.means(), self._timed_from
        tokens_per_s = round((self.num_tokens - tokens) / (time.monotonic() - since))
        self._log.write(self.step, num_tokens=self.num_tokens, tokens_per_s=tokens_per_s, loss=losses)
        self._progress.show(**losses)
        self._timed_from = (self.num_tokens, time.monotonic())

    def _log_measures(self, held_out: dict[str, list[Batch]], text: "MeasuredText | None") -> None:
        measures: dict[str, object] = {}
        if held_out:
            losses = {name: round(self.measure(rows), 4) for name, rows in held_out.items()}
            measures["held_out"] = losses
            self._progress.show(**{f"held-out {name}": loss for name, loss in losses.items()})
        if text:
            measures["bits_per_byte"] = bits = round(text.measure().bits_per_byte, 4)
            self._progress.show(bits_per_byte=bits)
        if measures:
            self._log.write(self.step, num_tokens=self.num_tokens, **measures)
        self._measured_step = self.step

    # === State ===

    def save_state(self) -> None:
        """Write weights, optimizer and step to one file, which replaces the last one in one move, or raise TrainingError."""
        self.take_step.write_back()
        counts = {"num_tokens": self.num_tokens, "losses": self._recent.known, "measured_step": self._measured_step}
        self._saved.save(self.step, counts=counts)
        if self._on_checkpoint:
            self._on_checkpoint(self)

    def _save_interrupted(self) -> None:
        if not is_tensorflow():
            return  # a step of JAX gives its inputs' memory away: there may be nothing to save
        self._recent.settle()
        self.step = int(self.optimizer.iterations)  # the interrupt may have come between the step and its count
        self.save_state()

    def load_state(self) -> bool:
        """Go back to the last state, if there is one; return whether there was. Later lines of the log are dropped.

        Raises:
          TrainingError: if the file is damaged, of a run of other settings or of a backbone of another shape.
        """
        checkpoint = self._saved.resume()
        if checkpoint is None:
            self._log.keep_until(-1)  # of a run that was killed before its first state
            return False
        self.step, self.num_tokens = checkpoint.step, checkpoint.counts["num_tokens"]
        # A state from before these were kept was saved behind them.
        self._recent = RecentLosses(_STEPS_IN_FLIGHT)
        self._recent.known |= checkpoint.counts.get("losses", {})
        self._measured_step = checkpoint.counts.get("measured_step", self.step)
        self.take_step.read_variables()
        self._log.keep_until(self.step)
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
