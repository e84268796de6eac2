"""How far a training step of one task is from that of another: its probabilities and its hidden states, at each target token."""

from collections.abc import Mapping

from keras import ops

from softprompt_tf.backbones.passes.cheaper_passes import HiddenStates
from softprompt_tf.model.token_metrics import per_position
from softprompt_tf.replicas import sum_over_replicas
from softprompt_tf.typing import Tensor


def divergences(taught: Tensor, logits: Tensor) -> Tensor:
    """Return KL(softmax of `taught`, softmax of `logits`) at each position, float32 [B, U], in nats.

    Args:
      taught, logits: [B, U, V].
    """
    log_p, log_q = (ops.log_softmax(ops.cast(each, "float32"), axis=-1) for each in (taught, logits))
    return ops.sum(ops.exp(log_p) * (log_p - log_q), axis=-1)


def hidden_distances(
    taught: HiddenStates, states: HiddenStates, inputs: Mapping[str, Tensor], num_targets: int | Tensor
) -> Tensor:
    """Return the mean squared differences of hidden states at each target position, float32 [B, U].

    Each is the sum of two means over the H values of a state: that of the decoder at this position, and that of the encoder output
    over the tokens of the row's text. Rows of prompts and padding do not count, so that the prompts may differ in length.

    Args:
      taught, states: of two passes over the same texts and targets.
      inputs: with `encoder_token_ids` and `encoder_padding_mask` [B, T].
      num_targets: U.
    """
    token_ids, mask = inputs["encoder_token_ids"], inputs["encoder_padding_mask"]
    is_text = ops.cast(ops.logical_and(ops.cast(mask, "bool"), token_ids >= 0), "float32")  # [B, T], no rows of prompts
    of_text = _mean_squares(*(_last(each.encoder, ops.shape(token_ids)[1]) for each in (taught, states)))  # [B, T]
    of_targets = _mean_squares(*(each.decoder[:, :num_targets] for each in (taught, states)))  # [B, U]
    return of_targets + ops.divide_no_nan(
        ops.sum(of_text * is_text, axis=1, keepdims=True), ops.sum(is_text, axis=1, keepdims=True)
    )


def mean_over_targets(values: Tensor, targets: Tensor, sample_weight: Tensor | None = None) -> Tensor:
    """Return the mean of values [B, U] over the target tokens, as the loss is one; this replica's share of it.

    Args:
      values: float32 [B, U].
      targets: int [B, U], 0 where there is no token.
      sample_weight: float [B] or [B, U].
    """
    weights = ops.cast(ops.not_equal(targets, 0), "float32")
    if sample_weight is not None:
        weights = weights * per_position(ops.cast(sample_weight, "float32"))
    return ops.divide_no_nan(ops.sum(values * weights), sum_over_replicas(ops.sum(weights)))


def _last(states: Tensor, count: int | Tensor) -> Tensor:
    """Return the last positions of states [B, S, H]: rows of prompts stand in front of the text."""
    return states[:, ops.shape(states)[1] - count :]


def _mean_squares(first: Tensor, second: Tensor) -> Tensor:
    return ops.mean(ops.square(ops.cast(first, "float32") - ops.cast(second, "float32")), axis=-1)
