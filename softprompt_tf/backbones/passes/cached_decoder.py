"""The frozen T5's decoder with a key/value cache: one step for generation.

KerasHub's own decode loop restacks the whole cache at every step, prefills the padded length and sizes its cross-attention
cache without a prompt. Here beams of one row share what they see of the encoder output, and a step touches its own slot of the
cache only. States are rows [M, H], so that a projection is one product and no shape is worked out around it.
"""

from typing import Any, NamedTuple

from keras import ops

from softprompt_tf.backbones.frozen_t5 import FrozenT5
from softprompt_tf.backbones.passes.attention import (
    attend,
    bias_in_front,
    by_layer,
    causal_bias,
    injected_bias,
)
from softprompt_tf.backbones.passes.encoder_views import View
from softprompt_tf.backbones.passes.frozen_stacks import run_decoder
from softprompt_tf.backbones.passes.heads import Shape, join_heads
from softprompt_tf.injection import KeyValues
from softprompt_tf.typing import Tensor


class PositionBiases(NamedTuple):
    """What is added to the scores of self-attention, step by step.

    Args:
      positions: [N, U, U], the causal mask in it: row u is for the query at u.
      injected: of keys in front of the cache, as `injected_bias` gives it; None where there are none.
    """

    positions: Tensor
    injected: Tensor | None = None

    def at(self, index: Tensor, beams: int) -> Tensor:
        """Return the bias [1, N, 1, U] of the query at `index`, or [B * G, N, 1, P + U]."""
        own = ops.take(self.positions, index, axis=1)[None, :, None, :]
        if self.injected is None:
            return own
        has_queries = self.injected.shape[1] != 1  # [B, N, U, P]
        injected = ops.take(self.injected, [index], axis=2) if has_queries else self.injected
        return bias_in_front(own, ops.repeat(injected, beams, axis=0))


def empty_cache(
    t5: FrozenT5, num_rows: Tensor, max_tokens: int | Tensor, *, beams: int = 1, key_values: KeyValues | None = None
) -> tuple[Tensor, ...]:
    """Return the self-attention cache of every layer: keys and values, each [B * G, N, P + U, D].

    Args:
      t5: the frozen T5.
      num_rows: B * G.
      max_tokens: U.
      beams: G, of each of the B rows.
      key_values: what is injected in front of the B rows' tokens. It fills the first P positions; the others are zeros.
    """
    shape = (num_rows, t5.num_heads, max_tokens, t5.head_dim)
    empty = [ops.zeros(shape, dtype=t5.compute_dtype)] * (2 * len(t5.backbone.decoder_transformer_layers))
    prefixes = by_layer(key_values, t5.compute_dtype)
    if prefixes is None:
        return tuple(empty)
    parts = [part for prefix in prefixes for part in (prefix[0], prefix[1])]
    return tuple(
        ops.concatenate([ops.repeat(part, beams, axis=0), zeros], axis=2)
        for part, zeros in zip(parts, empty, strict=True)
    )


def position_biases(t5: FrozenT5, max_tokens: int | Tensor, key_values: KeyValues | None = None) -> PositionBiases:
    """Return the decoder's self-attention biases for answers of U tokens, behind what is injected."""
    injected = None if key_values is None else injected_bias(t5.backbone, key_values, max_tokens)
    return PositionBiases(causal_bias(t5.backbone, max_tokens), injected)


def decode_step(
    t5: FrozenT5,
    token_ids: Tensor,
    index: Tensor,
    cache: tuple[Tensor, ...],
    biases: PositionBiases,
    encoder: View,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run the decoder on one more token of every row.

    Args:
      token_ids: int [B, G], the tokens at position `index`; G beams share a row's encoder output.
      index: scalar int, the position, from 0.
      cache: as `empty_cache` made it, filled up to `index`.
      biases: as `position_biases` gives them, with what the cache has in front.
      encoder: a view of the encoder output.

    Returns:
      The next token's logits float32 [B, G, V], and the cache with this position filled.
    """
    beams = token_ids.shape[1]
    states = t5.embed(ops.reshape(token_ids, (-1,)))  # [B * G, H]
    one_token = Shape(ops.shape(states)[0], 1, t5.num_heads, t5.head_dim, is_small=True)
    of_a_row = one_token._replace(batch=ops.shape(token_ids)[0], length=beams)
    bias = biases.at(index, beams)
    place = index + _width(biases.injected)
    is_here = ops.equal(ops.arange(ops.shape(cache[0])[2]), place)[None, None, :, None]  # [1, 1, P + U, 1]
    filled: list[Tensor] = []

    def to_self(k: int, states: Tensor) -> Tensor:
        block = encoder.stack.layers[k].attention
        query, key, value, _ = block.heads(states, one_token)
        keys, values = ops.where(is_here, key, cache[2 * k]), ops.where(is_here, value, cache[2 * k + 1])
        filled.extend((keys, values))
        return states + block.output(join_heads(attend(query, keys, values, bias)[0], one_token))

    states = run_decoder(encoder.stack, states, to_self, lambda k, states: encoder.attend(k, states, of_a_row))
    return ops.reshape(t5.logits(states, encoder.invertible), (-1, beams, t5.vocabulary_size)), tuple(filled)


def _width(injected: Tensor | None) -> Any:
    """Return P of biases [B, 1, 1, P], 0 where there are none."""
    return 0 if injected is None else ops.shape(injected)[3]
