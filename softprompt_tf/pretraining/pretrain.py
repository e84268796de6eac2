"""Batches in, a pretrained T5 out: the training loop, resumable at any moment, and the preset directory that it writes.

A run directory holds `state.safetensors` (weights, optimizer, step; replaced atomically), `log.jsonl` and, at the end,
`preset/`. Starting the same command again goes on from the last state; the batches of the steps in between are made
anew and are the same, so a run that was stopped ends as one that was not, up to the arithmetic of the machine.
"""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import keras_hub
import numpy as np
import safetensors
import safetensors.numpy
import tensorflow as tf

from softprompt_tf.atomic_file import write_atomically
from softprompt_tf.errors import NonFiniteLossError, TrainingError
from softprompt_tf.pretraining.batches import Batch, PretrainingBatches

_TARGETS_MULTIPLE = 256


@dataclass(frozen=True)
class BackboneShape:
    """The shape of a T5 1.1: gated tanh GELU, untied head, no dropout.

    Args:
      vocabulary_size: rows of the embedding table; the last 100 are sentinels.
      hidden_dim, intermediate_dim, num_layers, num_heads, key_value_dim: as in KerasHub's `T5Backbone`.
    """

    vocabulary_size: int = 8192
    hidden_dim: int = 256
    intermediate_dim: int = 512
    num_layers: int = 4
    num_heads: int = 4
    key_value_dim: int = 64


@dataclass(frozen=True)
class PretrainingRun:
    """The settings of a run.

    Args:
      steps: optimizer steps in all.
      peak_learning_rate: relative to the RMS of each parameter; falls as 1 / sqrt(step) once that is lower.
      warmup_steps: linear warm-up.
      cooldown_steps: linear decay to zero at the end. A run may be prolonged before it begins.
      checkpoint_every, log_every, measure_every: steps.
      seed: the seed of the weights.
      precision: a Keras dtype policy, "float32" or "mixed_bfloat16".
    """

    steps: int
    peak_learning_rate: float = 2e-2
    warmup_steps: int = 100
    cooldown_steps: int = 1000
    checkpoint_every: int = 200
    log_every: int = 20
    measure_every: int = 500
    seed: int = 1
    precision: str = "mixed_bfloat16"

    def rate_factor(self, step: int) -> float:
        """Return the factor of the peak rate at a step, in [0, 1]: the lower one of warm-up and cool-down.

        Args:
          step: counted from 0. Step 0 has 1 / warmup_steps, the last step has 1 / cooldown_steps.
        """
        warm_up = min(1.0, (step + 1) / self.warmup_steps)
        cool_down = min(1.0, (self.steps - step) / max(1, self.cooldown_steps))
        return min(warm_up, cool_down)


def build_backbone(shape: BackboneShape, *, dtype: str, seed: int) -> keras_hub.models.T5Backbone:
    """Make a T5 1.1 with random weights that `seed` decides."""
    keras.utils.set_random_seed(seed)
    return keras_hub.models.T5Backbone(
        vocabulary_size=shape.vocabulary_size,
        num_layers=shape.num_layers,
        num_heads=shape.num_heads,
        hidden_dim=shape.hidden_dim,
        intermediate_dim=shape.intermediate_dim,
        key_value_dim=shape.key_value_dim,
        dropout=0.0,
        activation=keras.saving.get_registered_object("keras_hub>gelu_approximate"),
        use_gated_activation=True,
        tie_embedding_weights=False,
        dtype=dtype,
    )


class Pretrainer:
    """The loop around one backbone.

    Args:
      backbone: a KerasHub `T5Backbone`.
      run: the settings.
      directory: where the state and the log are kept.
    """

    def __init__(self, backbone: keras_hub.models.T5Backbone, run: PretrainingRun, directory: str | Path):
        self.backbone = backbone
        self.run = run
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._state_file = self.directory / "state.safetensors"
        # Adafactor with parameter scaling: a small T5 from nothing stalls at the unigram entropy under AdamW.
        self.optimizer = keras.optimizers.Adafactor(run.peak_learning_rate)
        self.optimizer.build(backbone.trainable_variables)
        self._train_step = tf.function(self._take_step, reduce_retracing=True)
        self._loss_of = tf.function(self._loss, reduce_retracing=True)
        self.step = 0

    def _loss(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """Return the mean cross-entropy in nats per target token."""
        states = self.backbone(
            {
                "encoder_token_ids": batch["encoder_token_ids"],
                "encoder_padding_mask": batch["encoder_padding_mask"],
                "decoder_token_ids": batch["decoder_token_ids"],
                # Padding stands behind the targets and the decoder is causal, so nothing needs to be masked.
                "decoder_padding_mask": tf.ones_like(batch["decoder_token_ids"]),
            },
            training=True,
        )["decoder_sequence_output"]
        # Only real targets go through the head, the dearest matrix of a small model; their number is rounded up, as every
        # new shape costs oneDNN a new kernel.
        real = tf.where(batch["targets"] != 0)
        num_real = tf.shape(real)[0]
        places = tf.pad(real, [[0, -num_real % _TARGETS_MULTIPLE], [0, 0]])
        logits = self.backbone.token_embedding(tf.gather_nd(states, places), reverse=True)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            tf.gather_nd(batch["targets"], places), tf.cast(logits, "float32")
        )
        return tf.reduce_mean(losses[:num_real])

    def _take_step(self, batch: dict[str, tf.Tensor], rate: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = self._loss(batch)
        self.optimizer.learning_rate.assign(rate)
        variables = self.backbone.trainable_variables
        # Keras's Adafactor would square the rows of a sparse gradient before adding up those of one token.
        gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, variables)]
        self.optimizer.apply(gradients, variables)
        return loss

    def _loss_of_step(self, batch: dict[str, tf.Tensor], rate: tf.Tensor) -> float:
        """Take a step; return the loss of before it, or a non-finite one if that is why the step failed."""
        try:
            return float(self._train_step(batch, rate))
        except tf.errors.InvalidArgumentError:
            # Keras divides the embedding table's sparse gradient wrongly where the divisor holds a NaN, and fails.
            loss = float(self._loss_of(batch))
            if math.isfinite(loss):
                raise
            return loss

    def measure(self, batches: list[Batch]) -> float:
        """Return the mean loss over batches, in nats per target token."""
        return float(np.mean([float(self._loss_of(_tensors(batch))) for batch in batches]))

    def fit(self, batches: PretrainingBatches, held_out: dict[str, list[Batch]]) -> None:
        """Train from the current step to the last one, logging, measuring and keeping the state.

        Args:
          batches: the training batches.
          held_out: for each objective, the batches that its loss is measured on.

        Raises:
          NonFiniteLossError: names the step, counted from 0; the state of before is kept.
        """
        recent: dict[str, list[float]] = {}
        num_tokens, since = 0, time.monotonic()
        for step, objective, batch in batches.prefetch(self.step, self.run.steps):
            rate = self.run.peak_learning_rate * self.run.rate_factor(step)
            loss = self._loss_of_step(_tensors(batch), tf.constant(rate, tf.float32))
            if not math.isfinite(loss):
                raise NonFiniteLossError(f"The loss must be finite. Received: {loss} at step {step}, rate {rate:.3g}.")
            self.step = step + 1
            recent.setdefault(objective, []).append(loss)
            num_tokens += int((batch["encoder_token_ids"] != 0).sum() + (batch["targets"] != 0).sum())
            if self.step % self.run.log_every == 0:
                losses = {name: round(float(np.mean(values)), 4) for name, values in sorted(recent.items())}
                self._log(
                    tokens_per_s=round(num_tokens / (time.monotonic() - since)), num_tokens=num_tokens, loss=losses
                )
                recent, num_tokens, since = {}, 0, time.monotonic()
            if self.step % self.run.measure_every == 0 or self.step == self.run.steps:
                self._log(held_out={name: round(self.measure(rows), 4) for name, rows in held_out.items()})
            if self.step % self.run.checkpoint_every == 0 or self.step == self.run.steps:
                self.save_state()

    def _log(self, **values: object) -> None:
        line = json.dumps({"step": self.step, **values})
        print(line, flush=True)
        with (self.directory / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(line + "\n")

    # === State ===

    def _named_variables(self) -> Iterator[tuple[str, keras.Variable]]:
        for k, variable in enumerate(self.backbone.weights):
            yield f"weights/{k}", variable
        for k, variable in enumerate(self.optimizer.variables):
            yield f"optimizer/{k}", variable

    def save_state(self) -> None:
        """Write weights, optimizer and step to one file, which replaces the last one in one move.

        Raises:
          TrainingError: if it cannot be written; the last one is kept.
        """
        named = self._named_variables()
        # Not ascontiguousarray, which makes [1] of a scalar.
        arrays = {name: np.asarray(keras.ops.convert_to_numpy(variable), order="C") for name, variable in named}
        content = safetensors.numpy.save(arrays, metadata={"step": str(self.step)})
        write_atomically(self._state_file, content, error_type=TrainingError)

    def load_state(self) -> bool:
        """Go back to the last state, if there is one; return whether there was.

        Raises:
          TrainingError: if the file is damaged or of a backbone of another shape.
        """
        if not self._state_file.is_file():
            return False
        try:
            with safetensors.safe_open(self._state_file, "np") as state:
                for name, variable in self._named_variables():
                    value = state.get_tensor(name)
                    variable.assign(value if len(variable.shape) else value.reshape(()))  # older states hold [1]
                self.step = int(state.metadata()["step"])
        except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
            raise TrainingError(
                f"A run's state must be whole and of the run's own backbone. Received: {self._state_file} ({error}). "
                "Choose another directory to start a new run."
            ) from error
        return True


def _tensors(batch: Batch) -> dict[str, tf.Tensor]:
    return {name: tf.convert_to_tensor(array) for name, array in batch.items()}


def write_preset(
    backbone: keras_hub.models.T5Backbone, tokenizer_proto: bytes, directory: str | Path, *, dtype: str = "float16"
) -> None:
    """Write a KerasHub preset directory, as `softprompt_tf.t5.load_t5` reads it.

    Args:
      backbone: whose weights are written.
      tokenizer_proto: the serialized SentencePiece model.
      directory: made where it is missing.
      dtype: what the weights are rounded to on the disk; float16 halves the file and keeps 11 bits of each value.
    """
    config = backbone.get_config()
    copy = keras_hub.models.T5Backbone.from_config({**config, "name": "t5_backbone", "dtype": dtype})
    copy.set_weights([weight.astype("float32") for weight in map(keras.ops.convert_to_numpy, backbone.weights)])
    copy.save_to_preset(str(directory))
    keras_hub.models.T5Tokenizer(proto=tokenizer_proto).save_to_preset(str(directory))
