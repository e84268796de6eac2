"""The mean cross-entropy per target token of the global batch, with z-loss and label smoothing.

The loss of a token is T5X's: cross-entropy plus `z_loss` times the squared log of the softmax's normaliser. Padding
counts nothing. Under `tf.distribute` the token count is summed over the replicas, so that replicas which hold
different numbers of tokens still give the gradient that one device would give.
"""

import math
from typing import Any

import keras
from keras import ops

from softprompt_tf.errors import ConfigError
from softprompt_tf.model.token_metrics import per_position
from softprompt_tf.replicas import sum_over_replicas

Tensor = Any


@keras.saving.register_keras_serializable(package="softprompt_tf")
class TargetCrossEntropy(keras.losses.Loss):
    """Mean cross-entropy per target token, in nats, with T5X's z-loss and label smoothing.

    The mean is over the target tokens of the global batch, not per replica and not per row. It is computed in float32
    whatever the dtype of the logits. A batch without target tokens gives 0.

    Args:
      z_loss: float >= 0. Weight of log(Z)^2, Z = the sum of the exponentiated logits. Default 1e-4.
      label_smoothing: float in [0, 1). Probability that is spread evenly over the V - 1 wrong tokens; the entropy of
        the smoothed target is subtracted, so that a perfect prediction costs 0. Default 0.
      pad_id: int. The target id that is no token. Default 0.

    Call arguments:
      y_true: int [B, U] target ids.
      y_pred: float [B, U, V] logits.
      sample_weight: optional float, [B] per row or [B, U] per token. The mean becomes a weighted one: its divisor is
        the sum of the weights of the target tokens.

    Returns:
      float32 scalar. Inside a replica it is this replica's share: the shares of all replicas sum up to the mean.

    Example:
      >>> loss = TargetCrossEntropy(z_loss=0.0)
      >>> float(loss([[1, 0]], [[[0.0, 0.0], [0.0, 0.0]]]))  # log 2
      0.6931...

    Source: google-research/t5x:t5x/losses.py, `compute_weighted_cross_entropy`.
    """

    def __init__(
        self, z_loss: float = 1e-4, label_smoothing: float = 0.0, pad_id: int = 0, name: str = "target_cross_entropy"
    ):
        super().__init__(name=name, dtype="float32")
        if z_loss < 0:
            raise ConfigError(f"`z_loss` must not be negative. Received: z_loss={z_loss}.")
        if not 0 <= label_smoothing < 1:
            raise ConfigError(f"`label_smoothing` must lie in [0, 1). Received: label_smoothing={label_smoothing}.")
        self.z_loss = z_loss
        self.label_smoothing = label_smoothing
        self.pad_id = pad_id

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        # Keras's own reduction divides by B * U, and cannot broadcast a weight [B] over [B, U].
        with keras.name_scope(self.name):
            targets = ops.cast(y_true, "int32")
            weights = self._token_weights(targets, sample_weight)
            losses = token_losses(
                self._known(targets),
                ops.cast(y_pred, "float32"),
                z_loss=self.z_loss,
                label_smoothing=self.label_smoothing,
            )
            return ops.divide_no_nan(ops.sum(losses * weights), sum_over_replicas(ops.sum(weights)))

    def weight_of(self, y_true: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Return what the mean of a global batch is divided by: the sum of the weights of its target tokens."""
        return sum_over_replicas(ops.sum(self._token_weights(ops.cast(y_true, "int32"), sample_weight)))

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each token [B, U], 0 on padding, before any mean."""
        targets = ops.cast(y_true, "int32")
        losses = token_losses(
            self._known(targets), ops.cast(y_pred, "float32"), z_loss=self.z_loss, label_smoothing=self.label_smoothing
        )
        return losses * self._token_weights(targets, None)

    def get_config(self) -> dict[str, Any]:
        return {
            "z_loss": self.z_loss,
            "label_smoothing": self.label_smoothing,
            "pad_id": self.pad_id,
            "name": self.name,
        }

    def _known(self, targets: Tensor) -> Tensor:
        """Put id 0 in the place of padding, whose id need not be one of the vocabulary's."""
        return targets if self.pad_id == 0 else ops.where(ops.equal(targets, self.pad_id), 0, targets)

    def _token_weights(self, targets: Tensor, sample_weight: Tensor | None) -> Tensor:
        is_token = ops.cast(ops.not_equal(targets, self.pad_id), "float32")  # [B, U]
        if sample_weight is None:
            return is_token
        return is_token * per_position(ops.cast(sample_weight, "float32"))


def token_losses(targets: Tensor, logits: Tensor, *, z_loss: float, label_smoothing: float) -> Tensor:
    """Return the loss of every position, padding included.

    Args:
      targets: int32 [B, U] ids below V.
      logits: float32 [B, U, V].
      z_loss: weight of log(Z)^2.
      label_smoothing: probability that leaves the target.

    Returns:
      float32 [B, U], nats.
    """
    logits = ops.reshape(logits, ops.shape(logits))  # a tensor, also of a variable, which cannot be indexed below
    log_z = ops.logsumexp(logits, axis=-1)  # [B, U]
    # TensorFlow's own op for this goes over all logits again, and takes three times as long as the line above.
    targets = ops.where(targets < 0, logits.shape[-1], targets)  # an id below 0 is as wrong as one past the end
    losses = log_z - ops.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]  # [B, U]
    if label_smoothing:
        losses = _smoothed(losses, logits, log_z, label_smoothing)
    return losses + z_loss * ops.square(log_z)


def _smoothed(losses: Tensor, logits: Tensor, log_z: Tensor, label_smoothing: float) -> Tensor:
    wrong_tokens = logits.shape[-1] - 1
    confidence = 1.0 - label_smoothing
    low_confidence = label_smoothing / wrong_tokens
    # T5X adds 1e-20 inside the second logarithm; it matters only where there is no smoothing.
    entropy = -(confidence * math.log(confidence) + wrong_tokens * low_confidence * math.log(low_confidence + 1e-20))
    target_logits = log_z - losses
    expected_logits = (confidence - low_confidence) * target_logits + low_confidence * ops.sum(logits, axis=-1)
    return log_z - expected_logits - entropy
