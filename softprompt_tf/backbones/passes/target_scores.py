"""Log-probabilities of targets that are known: many short ones of a row in one pass of the frozen T5's decoder."""

from collections.abc import Callable
from typing import Any

from keras import ops

from softprompt_tf.backbones.frozen_t5 import START_ID, FrozenT5
from softprompt_tf.backbones.passes.attention import bias_in_front, causal_bias, injected_bias, mask_bias
from softprompt_tf.backbones.passes.cheaper_passes import by_cost
from softprompt_tf.backbones.passes.shared_source import SharedSource, decode_shared
from softprompt_tf.injection import NO_INJECTION, Injection, KeyValues
from softprompt_tf.typing import Tensor

Decode = Callable[[Tensor, Tensor], Tensor]
"""Embeddings [B, Q, H], the bias of self-attention -> decoder states [B, Q, H]."""


def score_targets(
    t5: FrozenT5,
    target_ids: Tensor,
    encoder_output: Tensor,
    padding_mask: Tensor,
    injection: Injection = NO_INJECTION,
    *,
    is_short: bool | None = None,
) -> Tensor:
    """Score C targets of every row in one decoder pass.

    The targets of a row stand behind each other as one sequence behind one start id, 1 + C * (U - 1) tokens. Each has its own
    positions and sees only the start, itself and what is injected; so they share the row's encoder output and its first step.

    Args:
      target_ids: int [B, C, U], each with its end of sequence, padded with 0.
      encoder_output: [B, S, H].
      padding_mask: [B, S], 1 = a position to attend to.
      injection: what the rows' tasks inject into the decoder.
      is_short: whether cross-attention is absorbed. None: where that is cheaper.

    Returns:
      float32 [B, C]: the sum of log-probabilities of each target's tokens, in nats.
    """
    _, num_targets, length = ops.shape(target_ids)

    def decode(embeddings: Tensor, bias: Tensor) -> Tensor:
        def run(is_short: bool) -> Tensor:
            return t5.forward.decode(
                embeddings,
                bias,
                encoder_output,
                padding_mask,
                key_values=injection.decoder,
                cross=injection.cross,
                changes=injection.changes,
                is_short=is_short,
            )

        if is_short is not None:
            return run(is_short)
        return by_cost(
            t5,
            1 + num_targets * (length - 1),
            ops.shape(encoder_output)[1],
            few=lambda: run(True),
            many=lambda: run(False),
            can_absorb=not injection.moves_cross_keys,
        )

    return _scores(t5, target_ids, injection, decode)


def score_targets_of_shared(t5: FrozenT5, target_ids: Tensor, source: SharedSource, injection: Injection) -> Tensor:
    """Score C targets of every row of groups that read the same text; see `score_targets`.

    Args:
      t5: the frozen T5.
      target_ids: int [B, C, U].
      source: what the rows see of the encoder output.
      injection: what the rows' tasks inject into the decoder; one where `moves_cross_keys` does not hold.
    """
    return _scores(
        t5, target_ids, injection, lambda embeddings, bias: decode_shared(t5, embeddings, bias, source, injection)
    )


def _scores(t5: FrozenT5, target_ids: Tensor, injection: Injection, decode: Decode) -> Tensor:
    batch, num_targets, length = ops.shape(target_ids)
    bias = _side_by_side_bias(t5, num_targets, length, injection.decoder)
    start = ops.full_like(target_ids[:, 0, :1], START_ID)
    inputs = ops.concatenate([start, ops.reshape(target_ids[:, :, :-1], (batch, -1))], axis=1)  # [B, 1 + C * (U - 1)]
    states = decode(t5.embed(inputs), bias)
    logits = t5.logits(states, injection.invertible)  # [B, 1 + C * (U - 1), V]
    normalizers = ops.logsumexp(logits, axis=-1)
    first_ids, next_ids = target_ids[:, :, 0], ops.reshape(target_ids[:, :, 1:], (batch, -1))
    firsts = ops.take_along_axis(logits[:, 0], first_ids, axis=-1) - normalizers[:, :1]  # [B, C]
    next_ids = ops.concatenate([start, next_ids], axis=1)  # the start id is no real token, and adds nothing
    nexts = ops.squeeze(ops.take_along_axis(logits, next_ids[..., None], axis=-1), axis=-1) - normalizers
    nexts = ops.reshape((nexts * _is_real(next_ids))[:, 1:], (batch, num_targets, length - 1))
    return firsts * _is_real(first_ids) + ops.sum(nexts, axis=-1)


def _is_real(ids: Tensor) -> Tensor:
    return ops.cast(ops.not_equal(ids, 0), "float32")


def _side_by_side_bias(t5: FrozenT5, num_targets: Any, length: Any, key_values: KeyValues | None) -> Tensor:
    """Return [1 or B, 1 or N, Q, P + Q], Q = 1 + C * (U - 1): causal from the start id on and within each target, -1e9 between
    targets; injected keys in front."""
    step = ops.maximum(length - 1, 1)
    place = ops.arange(1 + num_targets * (length - 1))  # [Q]
    target = (place + step - 1) // step  # 0: the start id
    position = place - step * ops.maximum(target - 1, 0)
    is_seen = ops.logical_or(target[None, :] == target[:, None], target[None, :] == 0)
    pairs = position[:, None] * length + position[None, :]
    within = ops.reshape(causal_bias(t5.backbone, length), (t5.num_heads, -1))  # [N, U * U]
    bias = (ops.take(within, pairs, axis=1) + mask_bias(is_seen))[None]
    if key_values is None:
        return bias
    injected = injected_bias(t5.backbone, key_values, length)
    return bias_in_front(bias, injected if key_values.positions is None else ops.take(injected, position, axis=2))
