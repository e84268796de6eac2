"""One optimizer step on all weights of the T5, on one device or on several under `tf.distribute`."""

import math

import keras
import keras_hub
import numpy as np
import tensorflow as tf

from softprompt_tf.backbones.passes.fused_forward import FusedForward
from softprompt_tf.pretraining.batches import Batch

_TARGETS_MULTIPLE = 256


class TrainStep:
    """The step of one backbone and one optimizer.

    Args:
      backbone: whose variables are trained; made under `strategy.scope()`, as `optimizer` is.
      optimizer: any Keras optimizer.
      precision: "float32" or "bfloat16", of activations and matrix products.
      strategy: rows of a batch are dealt out to its replicas; their gradients are those of the whole batch's mean loss.
    """

    def __init__(
        self,
        backbone: keras_hub.models.T5Backbone,
        optimizer: keras.optimizers.Optimizer,
        *,
        precision: str,
        strategy: tf.distribute.Strategy,
    ):
        self._variables = backbone.trainable_variables
        self._optimizer = optimizer
        self._forward = FusedForward(backbone, dtype=precision)
        self._strategy = strategy
        self._is_default = not strategy.extended._in_multi_worker_mode() and strategy.num_replicas_in_sync == 1
        self._run = tf.function(self._step, reduce_retracing=True, autograph=False)
        self._sum = tf.function(self._loss_sum, reduce_retracing=True, autograph=False)

    def __call__(self, batch: Batch, rate: float) -> float:
        """Take a step at a learning rate; return the mean cross-entropy of before it, in nats per target token."""
        self._optimizer.learning_rate.assign(rate)
        num_targets = tf.constant(np.count_nonzero(batch["targets"]), tf.float32)
        try:
            return float(self._run(self._dealt(batch), num_targets))
        except tf.errors.InvalidArgumentError:
            # Some kernels fail on a NaN in place of handing it on; then the loss is why.
            loss = self.loss(batch)
            if math.isfinite(loss):
                raise
            return loss

    def loss(self, batch: Batch) -> float:
        """Return the mean cross-entropy of a batch, in nats per target token."""
        total = float(self._sum({name: tf.convert_to_tensor(array) for name, array in batch.items()}))
        return total / np.count_nonzero(batch["targets"])

    def read_variables(self) -> None:
        """Do nothing: the step works on the variables themselves, as `JaxTrainStep` does not."""

    def write_back(self) -> None:
        """Do nothing: the variables hold weights and slots already."""

    def _dealt(self, batch: Batch) -> dict[str, object]:
        """Return the batch, each array dealt out to the replicas by rows; rows of padding make it come out even."""
        count = self._strategy.num_replicas_in_sync
        if count == 1:
            return {name: tf.convert_to_tensor(array) for name, array in batch.items()}
        dealt: dict[str, object] = {}
        for name, array in batch.items():
            rows = np.pad(array, ((0, -len(array) % count), (0, 0)))
            dealt[name] = self._strategy.experimental_distribute_values_from_function(
                lambda context, rows=rows: tf.convert_to_tensor(rows[context.replica_id_in_sync_group :: count])
            )
        return dealt

    def _step(self, batch: dict[str, tf.Tensor], num_targets: tf.Tensor) -> tf.Tensor:
        losses = self._strategy.run(self._replica_step, args=(batch, num_targets))
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    def _replica_step(self, batch: dict[str, tf.Tensor], num_targets: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = self._loss_sum(batch) / num_targets
        # Keras's Adafactor would square the rows of a sparse gradient before adding up those of one token.
        gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, self._variables)]
        self._optimizer.apply(gradients, self._variables)
        return loss

    def _loss_sum(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """Return the sum of the cross-entropy over real targets, in nats."""
        mask = batch["encoder_padding_mask"]
        states = self._forward.decode(
            batch["decoder_token_ids"], self._forward.encode(batch["encoder_token_ids"], mask), mask
        )
        targets = tf.reshape(batch["targets"], [-1])
        if self._is_default:
            # Only real targets go through the head, the dearest matrix of a small model; their number is rounded up, as
            # every new shape costs oneDNN a new kernel. Accelerators rather have the same shape at every step.
            real = tf.where(targets != 0)[:, 0]
            places = tf.pad(real, [[0, -tf.shape(real)[0] % _TARGETS_MULTIPLE]])
            states, targets = tf.gather(states, places), tf.gather(targets, places)
            weights = tf.cast(tf.range(tf.shape(places)[0]) < tf.shape(real)[0], tf.float32)
        else:
            weights = tf.cast(targets != 0, tf.float32)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, self._forward.logits(states))
        return tf.reduce_sum(losses * weights)
