"""The frozen T5's decoder with a key/value cache: one step for generation, and one pass that scores many short targets.

KerasHub's own decode loop restacks the whole cache at every step, prefills the padded length and sizes its cross-attention
cache without a prompt. Here beams of one row share what they see of the encoder output, and a step touches its own slot of the
cache only. States are rows [M, H], so that a projection is one product and no shape is worked out around it. Self-attention
goes through KerasHub's projection layers, so dtype and quantization hold.
"""

from collections.abc import Callable

from keras import ops

from softprompt_tf.t5.attention_by_head import attend
from softprompt_tf.t5.cheaper_passes import by_cost
from softprompt_tf.t5.encoder_views import EncoderView, project_encoder_output
from softprompt_tf.t5.frozen_blocks import Shape, join_heads, split_heads
from softprompt_tf.t5.frozen_forward import causal_bias, mask_bias
from softprompt_tf.t5.frozen_t5 import START_ID, FrozenT5
from softprompt_tf.typing import Tensor


def empty_cache(t5: FrozenT5, num_rows: Tensor, max_tokens: int | Tensor) -> tuple[Tensor, ...]:
    """Return the self-attention cache of every layer: keys and values, each [rows, N, U, D] of zeros."""
    shape = (num_rows, t5.num_heads, max_tokens, t5.head_dim)
    return tuple(
        ops.zeros(shape, dtype=t5.compute_dtype) for _ in range(2 * len(t5.backbone.decoder_transformer_layers))
    )


def position_biases(t5: FrozenT5, max_tokens: int | Tensor) -> Tensor:
    """Return the decoder's self-attention bias [N, U, U] with the causal mask in it: row u is for the query at u."""
    return causal_bias(t5.backbone, max_tokens)


def decode_step(
    t5: FrozenT5,
    token_ids: Tensor,
    index: Tensor,
    cache: tuple[Tensor, ...],
    biases: Tensor,
    encoder: EncoderView,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run the decoder on one more token of every row.

    Args:
      token_ids: int [B, G], the tokens at position `index`; G beams share a row's encoder output.
      index: scalar int, the position, from 0.
      cache: as `empty_cache` made it for B * G rows, filled up to `index`.
      biases: as `position_biases` gives them.
      encoder: the encoder output as one of its views.

    Returns:
      The next token's logits float32 [B, G, V], and the cache with this position filled.
    """
    beams = token_ids.shape[1]
    states = t5.backbone.token_embedding(ops.reshape(token_ids, (-1,)))  # [B * G, H]
    one_token = Shape(ops.shape(states)[0], 1, t5.num_heads, t5.head_dim)
    of_a_row = one_token._replace(batch=ops.shape(token_ids)[0], length=beams)
    bias = ops.take(biases, index, axis=1)[None, :, None, :]  # [1, N, 1, U]
    is_here = ops.equal(ops.arange(ops.shape(biases)[-1]), index)[None, None, :, None]  # [1, 1, U, 1]
    filled: list[Tensor] = []
    for k, layer in enumerate(t5.backbone.decoder_transformer_layers):
        query, key, value = _heads(layer, states, one_token)
        keys, values = ops.where(is_here, key, cache[2 * k]), ops.where(is_here, value, cache[2 * k + 1])
        filled += [keys, values]
        attended = join_heads(attend(query, keys, values, bias), one_token)
        states = states + layer.self_attention.output_projector(attended)
        states = encoder.attend(t5, k, states, of_a_row)
        states = _feed_forward(layer, states)
    logits = t5.logits(t5.backbone.decoder_layer_norm(states))
    return ops.reshape(logits, (-1, beams, t5.vocabulary_size)), tuple(filled)


def score_targets(t5: FrozenT5, target_ids: Tensor, encoder_output: Tensor, padding_mask: Tensor) -> Tensor:
    """Score C targets of every row in one decoder pass, by whichever way of cross-attention is cheaper for so many tokens.

    Args:
      target_ids: int [B, C, U], each with its end of sequence, padded with 0.
      encoder_output: [B, S, H].
      padding_mask: [B, S], 1 = a position to attend to.

    Returns:
      float32 [B, C]: the sum of log-probabilities of each target's tokens, in nats.
    """
    bias = _block_bias(t5, *ops.shape(target_ids)[1:])

    def decode(token_ids: Tensor) -> Tensor:
        def few() -> Tensor:
            return t5.forward.decode(t5.embed(token_ids), bias, encoder_output, padding_mask)

        def many() -> Tensor:
            return _decode(t5, token_ids, bias, project_encoder_output(t5, encoder_output, padding_mask))

        return by_cost(t5, ops.shape(token_ids)[1], ops.shape(encoder_output)[1], few, many)

    return _log_probabilities(t5, target_ids, decode)


def _log_probabilities(t5: FrozenT5, target_ids: Tensor, decode: Callable[[Tensor], Tensor]) -> Tensor:
    """Sum the log-probabilities of each target's tokens, [B, C] of ids [B, C, U].

    The targets of a row stand behind each other as one sequence of C * U positions, each with its own start id and its own
    positions, and see only themselves; so they share the row's encoder output, and nothing is repeated C times.

    Args:
      decode: the decoder's inputs int [B, C * U] to its states [B, C * U, H].
    """
    batch, num_targets, length = ops.shape(target_ids)
    flat_ids = ops.reshape(target_ids, (batch, num_targets * length))
    starts = ops.full_like(target_ids[:, :, :1], START_ID)
    inputs = ops.reshape(ops.concatenate([starts, target_ids[:, :, :-1]], axis=2), (batch, num_targets * length))
    logits = t5.logits(decode(inputs))  # [B, C * U, V]
    picked = ops.squeeze(ops.take_along_axis(logits, flat_ids[..., None], axis=-1), axis=-1)
    log_probabilities = picked - ops.logsumexp(logits, axis=-1)
    real = ops.cast(ops.not_equal(flat_ids, 0), "float32")
    return ops.sum(ops.reshape(log_probabilities * real, (batch, num_targets, length)), axis=-1)


def _decode(t5: FrozenT5, token_ids: Tensor, bias: Tensor, encoder: EncoderView) -> Tensor:
    """Run the decoder's layers on ids [B, Q] with a self-attention bias [1, N, Q, Q]; return states [B, Q, H]."""
    batch, length = ops.shape(token_ids)
    shape = Shape(batch, length, t5.num_heads, t5.head_dim)
    states = t5.backbone.token_embedding(ops.reshape(token_ids, (-1,)))  # [B * Q, H]
    for k, layer in enumerate(t5.backbone.decoder_transformer_layers):
        query, keys, values = _heads(layer, states, shape)
        attended = join_heads(attend(query, keys, values, bias), shape)
        states = states + layer.self_attention.output_projector(attended)
        states = encoder.attend(t5, k, states, shape)
        states = _feed_forward(layer, states)
    return ops.reshape(t5.backbone.decoder_layer_norm(states), (-1, shape.length, t5.hidden_dim))


def _heads(layer: Tensor, states: Tensor, shape: Shape) -> tuple[Tensor, Tensor, Tensor]:
    """Return a layer's own queries, keys and values, each [B, N, Q, D], of states [B * Q, H]."""
    normed, attention = layer.self_attention_layer_norm(states), layer.self_attention
    return (
        split_heads(attention.query_projector(normed), shape),
        split_heads(attention.key_projector(normed), shape),
        split_heads(attention.value_projector(normed), shape),
    )


def _block_bias(t5: FrozenT5, num_targets: int, length: int) -> Tensor:
    """Return [1, N, C * U, C * U]: the causal bias [N, U, U] within each target, -1e9 between targets."""
    within = position_biases(t5, length)
    block = ops.repeat(ops.arange(num_targets), length)
    same = mask_bias(block[None, :] == block[:, None])
    return (ops.tile(within, (1, num_targets, num_targets)) + same)[None]


def _feed_forward(layer: Tensor, states: Tensor) -> Tensor:
    """Add a layer's feed-forward block to states [M, H]."""
    normed = layer.layer_norm(states)
    hidden = layer.input_projector(normed)
    if layer.use_gated_activation:
        hidden = hidden * layer.gate_projector(normed)
    return states + layer.output_projector(hidden)
