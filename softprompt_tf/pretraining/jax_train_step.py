"""One optimizer step on all weights of the T5 as one XLA program, under Keras's JAX backend; `train_step.py` is
TensorFlow's."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import keras
import keras_hub
import numpy as np
from keras import ops

from softprompt_tf.backbones.passes.fused_forward import FusedForward
from softprompt_tf.pretraining.batches import Batch
from softprompt_tf.typing import Tensor

BatchShape = tuple[int, int, int]


class JaxTrainStep:
    """The step of one backbone and one optimizer on one device.

    Weights and slots live in this object while it trains; `write_back` puts them into the variables.

    Args:
      backbone: whose variables are trained.
      optimizer: any Keras optimizer, built for these variables.
      precision: "float32" or "bfloat16", of activations and matrix products.
    """

    def __init__(self, backbone: keras_hub.models.T5Backbone, optimizer: keras.optimizers.Optimizer, *, precision: str):
        self._variables = list(backbone.trainable_variables)
        self._optimizer = optimizer
        self._forward = FusedForward(backbone, dtype=precision)
        self._rate_at = [id(v) for v in optimizer.variables].index(id(optimizer.learning_rate))
        self._step = jax.jit(self._stateless_step, donate_argnums=(0, 1))
        self._sum = jax.jit(self._stateless_loss)
        self._compiled: dict[BatchShape, Any] = {}
        self._weights: list[Tensor] = []
        self._slots: list[Tensor] = []
        self.read_variables()

    def __call__(self, batch: Batch, rate: float) -> Tensor:
        """Take a step at a learning rate; return the mean cross-entropy of before it, in nats per target token.

        It is a scalar on the device that may still be in the making: `float` of it waits.
        """
        shape = _shape_of(batch)
        if shape not in self._compiled:
            self.compile_for([shape])
        self._weights, self._slots, loss = self._compiled[shape](self._weights, self._slots, batch, np.float32(rate))
        return loss

    def loss(self, batch: Batch) -> float:
        """Return the mean cross-entropy of a batch, in nats per target token."""
        return float(self._sum(self._weights, batch))

    def compile_for(self, shapes: Iterable[BatchShape], *, threads: int = 1) -> None:
        """Compile the step for batches of B rows, T input tokens and U target tokens, several at a time."""
        wanted = [shape for shape in dict.fromkeys(shapes) if shape not in self._compiled]
        with ThreadPoolExecutor(threads) as pool:
            self._compiled.update(zip(wanted, pool.map(self._compile, wanted), strict=True))

    def read_variables(self) -> None:
        """Take weights and slots from the variables, after they were set from outside."""
        # Copies: a step gives its inputs' memory away.
        self._weights = [jax.numpy.array(variable.value, copy=True) for variable in self._variables]
        self._slots = [jax.numpy.array(variable.value, copy=True) for variable in self._optimizer.variables]

    def write_back(self) -> None:
        """Put weights and slots into the variables."""
        for variable, value in zip(self._variables, self._weights, strict=True):
            variable.assign(value)
        for variable, value in zip(self._optimizer.variables, self._slots, strict=True):
            variable.assign(value)

    def _compile(self, shape: BatchShape) -> Any:
        rows, source, targets = shape
        lengths = {
            "encoder_token_ids": source,
            "encoder_padding_mask": source,
            "decoder_token_ids": targets,
            "targets": targets,
        }
        batch = {name: jax.ShapeDtypeStruct((rows, length), np.int32) for name, length in lengths.items()}
        rate = jax.ShapeDtypeStruct((), np.float32)
        return self._step.lower(self._weights, self._slots, batch, rate).compile()

    def _stateless_step(
        self, weights: Sequence[Tensor], slots: Sequence[Tensor], batch: Batch, rate: Tensor
    ) -> tuple[list[Tensor], list[Tensor], Tensor]:
        loss, gradients = jax.value_and_grad(self._stateless_loss)(weights, batch)
        slots = [rate if place == self._rate_at else slot for place, slot in enumerate(slots)]
        return *self._optimizer.stateless_apply(slots, gradients, weights), loss

    def _stateless_loss(self, weights: Sequence[Tensor], batch: Batch) -> Tensor:
        """Return the mean cross-entropy over real targets, in nats."""
        with keras.StatelessScope(state_mapping=list(zip(self._variables, weights, strict=True))):
            mask = batch["encoder_padding_mask"]
            encoded = self._forward.encode(batch["encoder_token_ids"], mask)
            logits = self._forward.logits(self._forward.decode(batch["decoder_token_ids"], encoded, mask))
        targets = ops.reshape(batch["targets"], (-1,))
        is_target = ops.cast(targets != 0, "float32")
        losses = ops.sparse_categorical_crossentropy(targets, logits, from_logits=True)
        return ops.sum(losses * is_target) / ops.sum(is_target)


def _shape_of(batch: Batch) -> BatchShape:
    return (*batch["encoder_token_ids"].shape, batch["targets"].shape[1])
