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

    Examples:
      >>> loss = sp.TargetCrossEntropy(z_loss=0.0)
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

    Its gradient is written out, as (1 + 2 z_loss log Z) softmax - smoothed target. The automatic one goes over all logits
    several times more.

    Args:
      targets: int32 [B, U] ids below V.
      logits: float32 [B, U, V].
      z_loss: weight of log(Z)^2.
      label_smoothing: probability that leaves the target.

    Returns:
      float32 [B, U], nats.
    """
    vocabulary = logits.shape[-1]
    targets = ops.where(targets < 0, vocabulary, targets)  # an id below 0 is as wrong as one past the end
    low = label_smoothing / (vocabulary - 1) if label_smoothing else 0.0  # a wrong token's share
    surplus = 1.0 - label_smoothing - low  # of the target over a wrong token

    @ops.custom_gradient  # type: ignore[untyped-decorator]
    def losses_of(logits: Tensor) -> tuple[Tensor, object]:
        probabilities, largest, its_log = _softmax(logits)
        log_z = largest - its_log
        at_target = ops.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]  # [B, U]
        expected = surplus * at_target
        if low:
            expected = expected + low * ops.sum(logits, axis=-1)
        losses = (largest - expected) - its_log - _entropy(label_smoothing, low) + z_loss * ops.square(log_z)

        def grad(*upstream: Tensor) -> Tensor:
            weights = upstream[0]  # [B, U]
            factor = weights * (1.0 + 2.0 * z_loss * log_z)
            gradient = probabilities * factor[..., None]
            if low:
                gradient = gradient - (weights * low)[..., None]
            new = ops.exp(at_target - log_z) * factor - (low + surplus) * weights
            return _with_values_at(gradient, targets, new)

        return losses, grad

    return losses_of(ops.reshape(logits, ops.shape(logits)))  # a tensor, also of a variable


def _softmax(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the softmax [B, U, V], and of each position the largest logit and the log of its probability [B, U].

    The largest probability is at least 1 / V, so its logarithm loses nothing. That of Z is the difference of the two, and no
    other pass needs an exponential of every logit.
    """
    probabilities = ops.softmax(logits, axis=-1)
    return probabilities, ops.max(logits, axis=-1), ops.log(ops.max(probabilities, axis=-1))


def _with_values_at(values: Tensor, ids: Tensor, new: Tensor) -> Tensor:
    """Return values [B, U, V] with `new` [B, U] at the ids [B, U]. No second tensor of this size is made for it."""
    rows = ops.reshape(values, (-1, values.shape[-1]))  # [B * U, V]
    row_numbers = ops.arange(ops.shape(rows)[0], dtype="int32")
    places = ops.stack([row_numbers, ops.reshape(ids, (-1,))], axis=-1)
    return ops.reshape(ops.scatter_update(rows, places, ops.reshape(new, (-1,))), ops.shape(values))


def _entropy(label_smoothing: float, low: float) -> float:
    """Return the entropy of a smoothed target, of which a wrong token has the share `low`."""
    if not label_smoothing:
        return 0.0
    confidence = 1.0 - label_smoothing
    # T5X adds 1e-20 inside the second logarithm; it matters only where there is no smoothing.
    return -(confidence * math.log(confidence) + label_smoothing * math.log(low + 1e-20))
