"""The one attention of the package, and the biases that say what may be attended to."""

from typing import Any

import keras_hub
from keras import ops

from softprompt_tf.injection import KeyValues, PromptSight
from softprompt_tf.typing import Tensor

_MASKED = -1e9


def attend(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Attend from queries to keys and values.

    T5 does not divide the scores by the square root of D: the initialization holds that factor.

    Args:
      query: [..., Q, D].
      keys, values: [..., S, D].
      bias: broadcasts to [..., Q, S]; -1e9 where nothing may be attended to.

    Returns:
      What is attended to [..., Q, D], and the weights [..., Q, S].
    """
    scores = _scores(query, keys)
    return _attended(scores + ops.cast(bias, scores.dtype), values)


def attend_in_part(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Attend to some of the positions that a query sees; the softmax is over these alone.

    Args:
      query: [..., Q, D].
      keys, values: [..., S, D].
      bias: float32, broadcasts to [..., Q, S].

    Returns:
      What is attended to [..., Q, D], and the log of the softmax's sum float32 [..., Q, 1], by which parts are put together.
    """
    scores = ops.cast(_scores(query, keys), "float32") + bias
    context, weights = _attended(scores, values)
    # The weight of a position is exp(its score - the log of the sum); the largest one is never 0.
    log_sum = ops.max(scores, axis=-1, keepdims=True) - ops.log(ops.max(weights, axis=-1, keepdims=True))
    return context, log_sum


def _scores(query: Tensor, keys: Tensor) -> Tensor:
    axes = (*range(len(keys.shape) - 2), len(keys.shape) - 1, len(keys.shape) - 2)
    return ops.matmul(query, ops.transpose(keys, axes))


def _attended(scores: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    weights = ops.softmax(scores, axis=-1)
    return ops.matmul(ops.cast(weights, values.dtype), values), weights


# === Biases ===


def mask_bias(mask: Tensor) -> Tensor:
    """Turn a mask, 1 = visible, into what is added to attention scores in float32."""
    return (1.0 - ops.cast(mask, "float32")) * _MASKED


def encoder_bias(backbone: keras_hub.models.T5Backbone, padding_mask: Tensor) -> Tensor:
    """Return the encoder's self-attention bias float32 [B, N, S, S]: of positions, and of the mask [B, S]."""
    length = ops.shape(padding_mask)[1]
    first = backbone.encoder_transformer_layers[0].self_attention
    positions = ops.cast(first.compute_bias(length, length), "float32")  # [1, N, S, S]
    return positions + mask_bias(padding_mask)[:, None, None, :]


def sight_bias(sight: PromptSight, length: Any, num_front: Any) -> Tensor:
    """Return the bias float32 [B, 1, S, S] of what rows in front do not see, 0 where they see all.

    Args:
      sight: what they do not see.
      length: S, of rows in front and text.
      num_front: P, the rows in front.

    Source: google-research/prompt-tuning:prompt_tuning/extended/masks.py.
    """
    positions = ops.arange(length)
    query, key = positions[:, None], positions[None, :]
    of_front, of_prompt = query < num_front, key < num_front
    hidden = (
        ops.logical_and(of_front, ops.logical_not(of_prompt)),
        ops.logical_and(ops.logical_and(of_front, of_prompt), query != key),
        ops.logical_and(ops.logical_and(of_front, of_prompt), query < key),
    )
    flags = ops.cast(sight.rows, "float32")[:, 0]  # [B, 3]
    count = sum(flags[:, k, None, None, None] * ops.cast(part, "float32") for k, part in enumerate(hidden))
    return mask_bias(1.0 - count)


def causal_bias(backbone: keras_hub.models.T5Backbone, length: Any) -> Tensor:
    """Return the decoder's self-attention bias float32 [N, U, U], the causal mask in it: row u is for the query at u."""
    first = backbone.decoder_transformer_layers[0].self_attention
    bias = ops.cast(first.compute_bias(length, length), "float32")[0]  # [N, U, U]
    positions = ops.arange(length)
    return bias + mask_bias(positions[None, :] <= positions[:, None])


def injected_bias(backbone: keras_hub.models.T5Backbone, key_values: KeyValues, length: Any) -> Tensor:
    """Return the bias of keys in front of the decoder's U tokens: float32 [B, 1, 1, P], or [B, N, U, P] with positions."""
    masked = key_mask_bias(key_values)
    if key_values.positions is None:
        return masked
    first, count = backbone.decoder_transformer_layers[0].self_attention, ops.shape(key_values.rows)[1]
    positions = ops.cast(first.compute_bias(length, count, query_start_index=count), "float32")  # [1, N, U, P]
    return masked + positions * ops.cast(key_values.positions, "float32")[:, None, None, :]


# === Keys and values in front ===


def by_layer(key_values: KeyValues | None, dtype: str) -> list[Tensor] | None:
    """Return injected keys and values as [2, B, N, P, D] for each layer, keys first; None where there are none."""
    if key_values is None:
        return None
    rows = ops.transpose(ops.cast(key_values.rows, dtype), (2, 3, 0, 4, 1, 5))  # [L, 2, B, N, P, D]
    return list(ops.unstack(rows, axis=0))


def key_mask_bias(key_values: KeyValues) -> Tensor:
    """Return float32 [B, 1, 1, P]: 0 for injected keys that count, -1e9 for others."""
    batch, length = ops.shape(key_values.rows)[:2]
    mask = ops.ones((batch, length)) if key_values.mask is None else key_values.mask
    return mask_bias(mask)[:, None, None, :]


def bias_in_front(bias: Tensor, injected: Tensor | None) -> Tensor:
    """Put the bias of injected keys [B, 1 or N, 1 or Q, P] in front of that of the others [1 or B, 1 or N, 1 or Q, S].

    Returns:
      [B, 1 or N, 1 or Q, P + S]; the bias itself where nothing is injected.
    """
    if injected is None:
        return bias
    injected = ops.cast(injected, bias.dtype)
    # Sums of zeros, as TensorFlow's concatenation broadcasts nothing.
    parts = (injected + 0.0 * bias[..., :1], bias + 0.0 * injected[..., :1])
    return ops.concatenate(parts, axis=3)


def source_mask_bias(padding_mask: Tensor, cross: KeyValues | None, dtype: str) -> Tensor:
    """Return the bias of cross-attention [B, 1, 1, P + S] from the mask [B, S] of the encoder output, and what is injected."""
    bias = mask_bias(padding_mask)[:, None, None, :]
    return ops.cast(bias_in_front(bias, cross and key_mask_bias(cross)), dtype)


def in_front(prefix: Tensor | None, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Put a layer's injected keys and values [2, B, N, P, D] in front of its own [B, N, S, D]; return both [B, N, P + S, D]."""
    if prefix is None:
        return keys, values
    injected_keys, injected_values = ops.unstack(prefix, 2, axis=0)
    return ops.concatenate([injected_keys, keys], axis=2), ops.concatenate([injected_values, values], axis=2)
